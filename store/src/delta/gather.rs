use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, BufWriter, Read},
    ops::Range,
    sync::Arc,
};

use dhow_image::{ArchiveError, ImageId, ImageManifest, Name};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{
    DeltaError, DeltaHead, DeltaPack, DeltaPatch, HeadRecipe, Rebuild, Reused, SealedRecipe, SparsePacks,
    chunks::Chunks,
    frames::Frames,
    keys::{Keys, WantedKeys},
    pack_image::pieces,
    patch::{Patched, recipe_reader},
    rebuild::{ContentReader, Current},
    survey::{Places, Survey},
};
use crate::{
    object::ObjectId,
    pack::{
        Backend, Chunker, ContentRef, PackError, PackId, PackIndex, PackStore, Piece, PlanLimits, TAIL, Tail, plan,
    },
    recipe::{RecipeHead, RecipeReader, recipe_of, records_of},
    store::Store,
};

/// Of all packs that are looked into together; one takes about 50 bytes of memory.
pub(super) const MAX_CONTENTS: usize = 400_000;
/// Lists of lists go no deeper.
pub(super) const DEEPEST: u8 = 8;
/// Contents are asked for in ranges of so many bytes: some of them come side by side, and what comes long before it is
/// read has to be kept.
const LONGEST: u64 = 1 << 20;

/// Finds out what of an image is missing, step by step, as what it asks for comes.
pub struct Delta {
    pub(super) store: Arc<Store>,
    head: DeltaHead,
    /// The records of its recipe, and where they are sealed the keys of its objects.
    records: ContentRef,
    keys_content: Option<ContentRef>,
    /// As the packer has cut.
    chunker: Chunker,
    scratch: Arc<TempDir>,
    pub(super) sparse: Arc<SparsePacks>,
    pub(super) packs: Arc<PackStore>,
    /// How many of the head's packs are open, from the newest on, and how many contents they have.
    opened: usize,
    contents: usize,
    /// The pack whose end was asked for.
    awaited: Option<DeltaPack>,
    /// An image of the same name that the store has, and the chunks of its recipe.
    base: Option<ImageId>,
    base_recipe: Option<Chunks>,
    pub(super) recipe: Option<File>,
    wanted_keys: Option<WantedKeys>,
    pub(super) keys: Option<Arc<Keys>>,
    patched: Option<Patched>,
    survey: Option<Survey>,
}

/// What is to be done next.
pub enum Step {
    /// These ranges are to be written into [`Delta::sparse`].
    Need(Need),
    /// Everything is here.
    Ready(Box<Rebuild>),
}

/// Ranges of packs that are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// What they are.
    pub source: Source,
    /// The ranges, neighbours joined.
    pub ranges: Vec<(PackId, Range<u64>)>,
}

/// What is in a range that is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The end of a pack: what is in it.
    Index,
    /// Parts of the recipe, or of its keys.
    Recipe,
    /// Contents.
    Contents,
}

impl Need {
    /// How many bytes the ranges have.
    pub fn bytes(&self) -> u64 {
        self.ranges.iter().map(|(_, range)| range.end - range.start).sum()
    }
}

impl Delta {
    /// An image that is to be rebuilt in `store`, where an image called `name` may have much of it. One that is sealed
    /// is for [`Self::opened`].
    pub fn new(store: Arc<Store>, head: DeltaHead, name: &Name) -> Result<Self, DeltaError> {
        let HeadRecipe::Plain(records) = &head.recipe else {
            return Err(DeltaError::Head {
                problem: "it is sealed, and was not opened",
            });
        };
        let records = records.clone();
        Self::start(store, head, (records, None, Chunker::new()), name)
    }

    /// The same, of a sealed image, by what the sealed part of its head was opened to.
    pub fn opened(store: Arc<Store>, head: DeltaHead, sealed: SealedRecipe, name: &Name) -> Result<Self, DeltaError> {
        let chunker = Chunker::seeded(sealed.chunker_seed);
        Self::start(store, head, (sealed.records, Some(sealed.keys), chunker), name)
    }

    fn start(
        store: Arc<Store>,
        head: DeltaHead,
        (records, keys_content, chunker): (ContentRef, Option<ContentRef>, Chunker),
        name: &Name,
    ) -> Result<Self, DeltaError> {
        if head.tar_size > store.limits().tar_size {
            let limit = store.limits().tar_size;
            return Err(DeltaError::Image(ArchiveError::TooLarge { what: "bytes", limit }));
        }
        let scratch = tempfile::Builder::new().prefix("delta-").tempdir_in(store.tmp_dir());
        let scratch = Arc::new(scratch.map_err(DeltaError::Temporary)?);
        let sparse = Arc::new(SparsePacks::new(scratch.path().to_owned(), &head.packs));
        let backend: Arc<dyn Backend> = sparse.clone();
        let packs = Arc::new(PackStore::open(backend, [])?);
        let images = store.images()?;
        let of_name = images.iter().filter(|image| image.name == *name);
        let base = of_name.max_by_key(|image| image.imported_at).map(|image| image.id);
        let mut delta = Self {
            store,
            head,
            records,
            keys_content,
            chunker,
            scratch,
            sparse,
            packs,
            opened: 0,
            contents: 0,
            awaited: None,
            base,
            base_recipe: None,
            recipe: None,
            wanted_keys: None,
            keys: None,
            patched: None,
            survey: None,
        };
        delta.base_recipe = delta.read_base_recipe()?;
        Ok(delta)
    }

    /// What is to be rebuilt.
    pub fn head(&self) -> &DeltaHead {
        &self.head
    }

    /// Where what comes is written.
    pub fn sparse(&self) -> &Arc<SparsePacks> {
        &self.sparse
    }

    /// The patch that would bring everything, if there is one for an image that the store has.
    pub fn patch(&self) -> Option<&DeltaPatch> {
        let patch = self.head.patch.as_ref();
        patch.filter(|patch| self.patched.is_none() && self.store.contains(&patch.base))
    }

    /// Takes what makes this image of another: the patch of the head, which came whole. After an error, everything is
    /// as it was.
    pub fn apply(&mut self, patch: File) -> Result<(), DeltaError> {
        let (recipe, patched) = Patched::read(patch, &self.head, &self.records, &self.store, self.scratch.path())?;
        self.recipe = Some(recipe);
        self.patched = Some(patched);
        self.survey = None;
        self.awaited = None;
        Ok(())
    }

    /// The image's manifest, once the recipe is here. It is no more than what the recipe says.
    pub fn manifest(&self) -> Option<&ImageManifest> {
        self.survey.as_ref().map(|survey| &survey.manifest)
    }

    /// Where the image's bytes come from, once that is known.
    pub fn reused(&self) -> Reused {
        self.survey.as_ref().map(|survey| survey.reused).unwrap_or_default()
    }

    /// What is needed next. What was asked for before must have come.
    pub fn step(&mut self) -> Result<Step, DeltaError> {
        if let Some(pack) = self.awaited.take() {
            self.open_pack(&pack)?;
        }
        if self.recipe.is_none()
            && let Some(need) = self.gather_recipe()?
        {
            return Ok(Step::Need(need));
        }
        if self.keys.is_none()
            && let Some(need) = self.gather_keys()?
        {
            return Ok(Step::Need(need));
        }
        if self.survey.is_none() {
            let recipe = self.recipe_reader()?;
            let places = Places {
                store: &self.store,
                packs: &self.packs,
                patched: self.patched.as_ref(),
                keys: self.keys.as_deref(),
                chunker: &self.chunker,
            };
            match Survey::of(recipe, &places, self.base.as_ref())? {
                Ok(survey) => self.survey = Some(survey),
                Err(missing) => return self.next_end(&missing).map(Step::Need),
            }
        }
        let frames = self
            .survey
            .as_ref()
            .map(|survey| survey.frames.clone())
            .unwrap_or_default();
        if let Some(need) = self.missing(Source::Contents, &frames) {
            return Ok(Step::Need(need));
        }
        Ok(Step::Ready(Box::new(self.rebuild()?)))
    }

    /// The image's tar, though contents may still be on their way here: whoever reads it waits for what
    /// [is coming](SparsePacks::coming). It can be had once, after [`Self::step`] has asked for contents.
    pub fn early(&mut self) -> Result<Option<Box<Rebuild>>, DeltaError> {
        match &self.survey {
            Some(survey) => {
                self.sparse.expect(survey.frames.read_once());
                Ok(Some(Box::new(self.rebuild()?)))
            }
            None => Ok(None),
        }
    }

    fn rebuild(&mut self) -> Result<Rebuild, DeltaError> {
        let holds_some = self.reused().files > 0;
        let bases = self.survey.as_mut().map(|survey| std::mem::take(&mut survey.bases));
        Ok(Rebuild {
            store: self.store.clone(),
            holds_some,
            recipe: self.recipe_reader()?,
            packs: self.packs.clone(),
            patched: self.patched.take(),
            keys: self.keys.clone(),
            objects: 0,
            chunker: self.chunker.clone(),
            bases: bases.unwrap_or_default(),
            current: Current::Bytes(io::Cursor::default()),
            _scratch: self.scratch.clone(),
        })
    }

    /// The records of the base's recipe, cut into chunks.
    fn read_base_recipe(&self) -> Result<Option<Chunks>, DeltaError> {
        let Some(base) = &self.base else { return Ok(None) };
        let recipe = self.store.image_dir(base)?.recipe()?;
        let mut file = self.temporary()?;
        // What cannot be read is of no use, and somebody else's affair.
        let Ok(mut records) = records_of(BufReader::new(recipe)) else {
            return Ok(None);
        };
        match io::copy(&mut records, &mut file).and_then(|_| Chunks::of(file, &self.chunker)) {
            Ok(chunks) => Ok(Some(chunks)),
            Err(_) => Ok(None),
        }
    }

    /// Looks into a pack whose end has come.
    fn open_pack(&mut self, pack: &DeltaPack) -> Result<(), DeltaError> {
        let damaged = |problem| PackError::Damaged { pack: pack.id, problem };
        let read = |range| {
            let read = self.sparse.read(&pack.id, range).map_err(DeltaError::Temporary)?;
            read.ok_or(DeltaError::Pack(damaged("it did not come")))
        };
        let mut hasher = Sha256::new();
        for range in pieces(pack.end..pack.size) {
            hasher.update(read(range)?);
        }
        if hasher.finalize()[..] != pack.end_digest {
            return Err(damaged("its end is not what the recipe says").into());
        }
        let tail_start = pack.size.saturating_sub(TAIL as u64);
        let tail = Tail::parse(pack.id, pack.size, &read(tail_start..pack.size)?)?;
        self.contents += tail.contents();
        if self.contents > MAX_CONTENTS {
            return Err(DeltaError::TooMany {
                contents: self.contents,
            });
        }
        let range = tail.index_range();
        if range.start < pack.end {
            return Err(damaged("its end is shorter than its index").into());
        }
        let index = PackIndex::parse(&tail, &read(range)?)?;
        if index.lists().start < pack.end && !index.lists().is_empty() {
            return Err(damaged("its end is shorter than its lists").into());
        }
        match (index.is_sealed(), self.keys_content.is_some()) {
            (true, false) => return Err(damaged("it is sealed").into()),
            (false, true) => return Err(damaged("it is not sealed").into()),
            _ => {}
        }
        let packs = Arc::get_mut(&mut self.packs).ok_or(DeltaError::Pack(damaged("it is in use")))?;
        packs.add_older(index);
        self.opened += 1;
        Ok(())
    }

    /// Asks for the end of the next older pack, where those that are open do not have a content.
    fn next_end(&mut self, missing: &ContentRef) -> Result<Need, DeltaError> {
        let left = self.head.packs.len() - self.opened;
        let Some(pack) = left.checked_sub(1).map(|place| self.head.packs[place]) else {
            return Err(DeltaError::Pack(PackError::NotFound {
                content: missing.digest,
                location: "the recipe's packs".to_owned(),
            }));
        };
        self.awaited = Some(pack);
        Ok(Need {
            source: Source::Index,
            ranges: vec![(pack.id, pack.end..pack.size)],
        })
    }

    /// Puts the recipe together, or tells what of it is missing.
    fn gather_recipe(&mut self) -> Result<Option<Need>, DeltaError> {
        let content = self.records.clone();
        let mut frames = Frames::default();
        let found = needs(&self.packs, &content, self.base_recipe.as_ref(), &mut frames, &mut 0)?;
        if let Err(missing) = found {
            return self.next_end(&missing).map(Some);
        }
        if let Some(need) = self.missing(Source::Recipe, &frames) {
            return Ok(Some(need));
        }
        let mut records = Hashing {
            inner: ContentReader::new(self.packs.clone(), self.base_recipe.take(), content.clone()),
            hasher: Sha256::new(),
        };
        let file = self.temporary()?;
        let head = RecipeHead {
            id: self.head.id,
            tar_size: self.head.tar_size,
        };
        recipe_of(&mut records, &head, BufWriter::new(&file)).map_err(DeltaError::Recipe)?;
        if records.hasher.finalize()[..] != content.digest.as_bytes()[..] {
            return Err(DeltaError::Head {
                problem: "its records are not what it says",
            });
        }
        self.recipe = Some(file);
        Ok(None)
    }

    /// Opens the keys of a sealed image, or tells what of them is missing.
    fn gather_keys(&mut self) -> Result<Option<Need>, DeltaError> {
        let Some(content) = self.keys_content.clone() else {
            return Ok(None);
        };
        let wanted = match self.wanted_keys.take() {
            Some(wanted) => wanted,
            None => WantedKeys::of(content, self.recipe_reader()?, &self.store)?,
        };
        let found = wanted.find(&self.packs)?;
        self.wanted_keys = Some(wanted);
        let found = match found {
            Ok(found) => found,
            Err(missing) => return self.next_end(&missing).map(Some),
        };
        if let Some(need) = self.missing(Source::Recipe, &found.frames) {
            return Ok(Some(need));
        }
        self.keys = Some(Arc::new(found.read(&self.packs, self.temporary()?)?));
        Ok(None)
    }

    /// What of these frames is not here yet.
    fn missing(&self, source: Source, frames: &Frames) -> Option<Need> {
        let mut by_pack: HashMap<PackId, Vec<Range<u64>>> = HashMap::new();
        for (pack, range) in frames.iter() {
            if !self.sparse.has(pack, &range) {
                by_pack.entry(*pack).or_default().push(range);
            }
        }
        let mut limits = PlanLimits::default();
        if source == Source::Contents {
            limits.longest = LONGEST;
        }
        let mut ranges = Vec::new();
        for pack in &self.head.packs {
            let wanted = by_pack.remove(&pack.id).unwrap_or_default();
            let requests = plan(&wanted, &limits);
            ranges.extend(requests.into_iter().map(|request| (pack.id, request.range)));
        }
        (!ranges.is_empty()).then_some(Need { source, ranges })
    }

    fn recipe_reader(&self) -> Result<RecipeReader<BufReader<File>>, DeltaError> {
        recipe_reader(self.recipe.as_ref().expect("the recipe is gathered first"))
    }

    fn temporary(&self) -> Result<File, DeltaError> {
        tempfile::tempfile_in(self.scratch.path()).map_err(DeltaError::Temporary)
    }
}

/// Adds the frames that are needed for a content, where what `chunks` has is not, in the order in which they will be read.
/// The inner error is a content that no open pack has. What is here is counted into `local`.
pub(super) fn needs(
    packs: &PackStore,
    content: &ContentRef,
    chunks: Option<&Chunks>,
    frames: &mut Frames,
    local: &mut u64,
) -> Result<Result<(), ContentRef>, DeltaError> {
    let mut left = vec![(content.clone(), 0)];
    while let Some((content, depth)) = left.pop() {
        if chunks.is_some_and(|chunks| chunks.find(&content).is_some()) {
            *local += content.length;
            continue;
        }
        let Some(located) = packs.locate(&content.name()) else {
            return Ok(Err(content));
        };
        if !located.is_list {
            frames.add(&located, content.key.is_some());
            continue;
        }
        let parts = parts_of(packs, &content, located.pack, depth)?;
        left.extend(parts.into_iter().rev().map(|part| (part, depth + 1)));
    }
    Ok(Ok(()))
}

/// What is listed by a list that was found in this pack, so deep below what is looked for.
pub(super) fn parts_of(
    packs: &PackStore,
    list: &ContentRef,
    pack: PackId,
    depth: u8,
) -> Result<Vec<ContentRef>, DeltaError> {
    if depth == DEEPEST {
        return Err(DeltaError::Pack(PackError::Damaged {
            pack,
            problem: "its lists are too deep",
        }));
    }
    match packs.piece(list)? {
        Piece::Parts(parts) => Ok(parts),
        Piece::Bytes(_) => Ok(Vec::new()),
    }
}

impl Store {
    /// An object, if the store has it and it is as long as it should be.
    pub(super) fn held_object(&self, id: &ObjectId, size: u64) -> Option<File> {
        let file = self.open_object(id).ok()?;
        let metadata = file.metadata().ok()?;
        (metadata.is_file() && metadata.len() == size).then_some(file)
    }

    /// Whether it may have any object. A new one has none.
    pub(super) fn has_objects(&self) -> bool {
        std::fs::read_dir(self.objects_dir()).is_ok_and(|mut objects| objects.next().is_some())
    }

    pub(super) fn open_object(&self, id: &ObjectId) -> io::Result<File> {
        File::open(self.objects_dir().join(id.relative_path()))
    }
}

/// A reader that takes the digest of what is read.
struct Hashing<R> {
    inner: R,
    hasher: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}
