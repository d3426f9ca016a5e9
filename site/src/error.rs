//! What can go wrong with a site.

use std::{io, path::PathBuf};

use dhow_discovery::CatalogError;
use dhow_image::{ArchiveError, ImageId, Name};
use thiserror::Error;

/// Why a site could not be read, or nothing be published into it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The base URL cannot be one.
    #[error("`{url}` cannot be the URL of a site: {reason}")]
    BaseUrl {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There is no such directory, or it cannot be used.
    #[error("could not open the site `{location}`")]
    Open {
        /// The directory or URL of the site.
        location: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The place of the site is of a kind that this program cannot reach.
    #[error("could not open the site `{location}`")]
    OpenUrl {
        /// The URL of the site.
        location: String,
        /// Why not.
        #[source]
        source: object_store::Error,
    },
    /// The archive file could not be read.
    #[error("could not read `{}`", path.display())]
    ReadArchive {
        /// The archive.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The archive is no valid image.
    #[error("`{}` is not a valid image", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ArchiveError,
    },
    /// The archive was written to while it was published.
    #[error("`{}` changed while it was being published", path.display())]
    ArchiveChanged {
        /// The archive.
        path: PathBuf,
    },
    /// Clients could not verify what would be published.
    #[error("the signature of `{}` does not verify with the keys that would be published", path.display())]
    Signature {
        /// The archive.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<dhow_trust::Error>,
    },
    /// The image does not say its version.
    #[error(
        "`{}` (`{name}`) has no `version` label, so nobody could ask for it: add one with \
         `dhow build --label version=1.0.0` or `dhow patch`",
        path.display()
    )]
    NoVersion {
        /// The archive.
        path: PathBuf,
        /// The image's name.
        name: Name,
    },
    /// A label's value cannot be part of a URL.
    #[error(
        "the label `{label}={value}` of `{name}` cannot be part of a file name: it must begin with a letter or digit, \
         with only those, `.`, `_`, `-`, `+` or `~` after it"
    )]
    LabelValue {
        /// The image's name.
        name: Name,
        /// The label's name.
        label: &'static str,
        /// Its value.
        value: String,
    },
    /// `latest` is what the site itself calls the highest version.
    #[error("`{name}` cannot be published as version `{version}`: `latest` is what a site calls its highest version")]
    ReservedVersion {
        /// The image's name.
        name: Name,
        /// Its version.
        version: String,
    },
    /// The page of the name would be in the way of a file of the layout.
    #[error("`{name}` cannot be published: `{segment}` is the name of a file of every site")]
    ReservedName {
        /// The image's name.
        name: Name,
        /// The part that is reserved.
        segment: String,
    },
    /// Two names would have the same page.
    #[error("`{name}` cannot be published: its page would be that of `{other}`, which the site has already")]
    PageTaken {
        /// The image's name.
        name: Name,
        /// The name that has the page.
        other: Name,
    },
    /// Another image has the same path.
    #[error("`{name}` with the labels `{labels}` cannot be published: `{other_labels}` has the same path `{path}`")]
    PathTaken {
        /// The image's name.
        name: Name,
        /// Its labels.
        labels: String,
        /// The labels of the image that has the path.
        other_labels: String,
        /// The path.
        path: String,
    },
    /// The site has other content under that name and those labels.
    #[error(
        "`{name}` with the labels `{labels}` is published already as {}, and this one is {}: give it another version, \
         or ask to replace it",
        published.short(),
        offered.short()
    )]
    Conflict {
        /// The image's name.
        name: Name,
        /// Its labels.
        labels: String,
        /// What is published.
        published: Box<ImageId>,
        /// What was to be published.
        offered: Box<ImageId>,
    },
    /// The site has the image, and encrypted for others, or not at all.
    #[error(
        "`{name}` with the labels `{labels}` is published already, but not for just these recipients: ask to replace it"
    )]
    OtherRecipients {
        /// The image's name.
        name: Name,
        /// Its labels.
        labels: String,
    },
    /// The site does not have the file.
    #[error("the site `{location}` has no `{path}`")]
    NotFound {
        /// The directory or URL of the site.
        location: String,
        /// The file.
        path: String,
    },
    /// A file of the site could not be read or written.
    #[error("could not {action} `{path}` of the site `{location}`")]
    Store {
        /// What was tried.
        action: &'static str,
        /// The directory or URL of the site.
        location: String,
        /// The file.
        path: String,
        /// Why it failed.
        #[source]
        source: Box<object_store::Error>,
    },
    /// A record of the site is not one.
    #[error("`{path}` of the site `{location}` is damaged: publish its image again, or delete it")]
    DamagedRecord {
        /// The directory or URL of the site.
        location: String,
        /// The record.
        path: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The site has a catalog, and nobody is there to sign it.
    #[error(
        "the site `{location}` has a signed catalog of `{prefix}`, by which clients go: it must tell of this too, and \
         there is no key to sign it"
    )]
    CatalogUnsigned {
        /// Whose catalog it is.
        prefix: Name,
        /// The directory or URL of the site.
        location: String,
    },
    /// The present catalog bears no signature of the keys that are to sign.
    #[error(
        "the catalog of `{prefix}` on the site `{location}` bears no good signature of the keys that are to sign it now"
    )]
    CatalogSigner {
        /// Whose catalog it is.
        prefix: Name,
        /// The directory or URL of the site.
        location: String,
        /// What is wrong with its signature.
        #[source]
        source: Box<dhow_trust::Error>,
    },
    /// The present catalog cannot be read.
    #[error("the catalog of `{prefix}` on the site `{location}` is damaged: delete it, and publish again")]
    DamagedCatalog {
        /// Whose catalog it is.
        prefix: Name,
        /// The directory or URL of the site.
        location: String,
        /// What is wrong with it.
        #[source]
        source: Box<CatalogError>,
    },
    /// A catalog that is carried from another site cannot be read.
    #[error("the catalog that was to be carried cannot be read")]
    CarriedCatalog(#[source] Box<CatalogError>),
    /// A catalog could not be signed.
    #[error("could not sign the catalog of `{prefix}`")]
    SignCatalog {
        /// Whose catalog it is.
        prefix: Name,
        /// Why not.
        #[source]
        source: Box<dhow_trust::Error>,
    },
    /// The present catalog has the highest serial there is.
    #[error(
        "the catalog of `{prefix}` has the highest serial that there is: whoever issued it had your key, so revoke it, \
         delete the catalog, and sign with another key"
    )]
    NoSerialLeft {
        /// Whose catalog it is.
        prefix: Name,
    },
    /// Others changed the catalog all the time.
    #[error("could not change the catalog of `{prefix}`: others were faster {attempts} times")]
    CatalogContested {
        /// Whose catalog it is.
        prefix: Name,
        /// How often it was tried.
        attempts: u32,
    },
    /// A file could not be locked.
    #[error("could not lock `{}`", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The keys of the site cannot be read.
    #[error("`{path}` of the site `{location}` is damaged: delete it, and publish again")]
    DamagedKeys {
        /// The directory or URL of the site.
        location: String,
        /// The file of keys.
        path: String,
        /// What is wrong with it.
        #[source]
        source: Box<dhow_trust::Error>,
    },
    /// The archive could not be put into packs.
    #[error("could not put `{}` into packs", path.display())]
    Pack {
        /// The archive.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<dhow_store::delta::DeltaError>,
    },
    /// No patch could be made of the version before.
    #[error("could not make a patch from `{base}` to `{}`", path.display())]
    Patch {
        /// The archive of the version before, in the site.
        base: String,
        /// The archive.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<dhow_store::delta::DeltaError>,
    },
    /// A temporary file could not be used.
    #[error("could not use a temporary file")]
    Temporary(#[source] io::Error),
    /// The recipe of an archive could not be signed.
    #[error("could not sign the recipe of `{}`", path.display())]
    SignRecipe {
        /// The archive.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<dhow_trust::Error>,
    },
    /// The recipe of an archive could not be encrypted.
    #[error("could not encrypt the recipe of `{}`", path.display())]
    SealRecipe {
        /// The archive.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<dhow_trust::Error>,
    },
    /// The secret that seals the packs of a name could not be read or made.
    #[error("could not use the secret that seals packs of `{name}`, `{}`", path.display())]
    SealingSecret {
        /// The image's name.
        name: Name,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Packs that a new recipe was to name are not there any more.
    #[error(
        "somebody took away packs of `{name}` while its recipe was being published: publish again, and it gets new ones"
    )]
    PacksRemoved {
        /// The image's name.
        name: Name,
    },
    /// A name has more parts than a recipe can lead past.
    #[error("`{name}` has too many parts for a recipe")]
    TooDeep {
        /// The name.
        name: Name,
    },
    /// The site has no such image.
    #[error("the site `{location}` has no `{name}` with the labels `{labels}`")]
    NotPublished {
        /// The image's name.
        name: Name,
        /// The labels that were asked for.
        labels: String,
        /// The directory or URL of the site.
        location: String,
    },
    /// A file of the site is not what its record says.
    #[error("`{path}` of the site `{location}` is not what its record says: publish its image again")]
    NotAsRecorded {
        /// The directory or URL of the site.
        location: String,
        /// The file.
        path: String,
    },
    /// A catalog of the site cannot be read.
    #[error("`{path}` of the site `{location}` is damaged, and cannot be part of a bundle")]
    DamagedBundledCatalog {
        /// The directory or URL of the site.
        location: String,
        /// The catalog.
        path: String,
        /// What is wrong with it.
        #[source]
        source: Box<CatalogError>,
    },
    /// A path does not fit into a bundle.
    #[error("`{path}` is too long for a bundle")]
    PathTooLong {
        /// The path.
        path: String,
    },
    /// A bundle is damaged, or none.
    #[error("the bundle is not whole: `{entry}` {problem}")]
    Bundle {
        /// The entry that is wrong.
        entry: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A bundle could not be read.
    #[error("could not read the bundle")]
    ReadBundle(#[source] io::Error),
    /// A bundle could not be written.
    #[error("could not write the bundle")]
    WriteBundle(#[source] io::Error),
    /// The files of a bundle could not be written.
    #[error("could not write what is in the bundle")]
    UnpackBundle(#[source] io::Error),
}
