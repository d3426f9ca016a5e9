//! The steps of the main job, by the libraries.

use std::{
    env,
    fs::{self, File},
    net::SocketAddr,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use dhow_discovery::{Discovery, Options, Request, discover, host_labels};
use dhow_fetchers::{
    FetchContext, HttpClient, HttpOptions, Insecure, Origin, Pages, PubkeySource, PullPolicy, Verified, fetch,
    fetch_pubkeys,
};
use dhow_image::{App, BuildOptions, Built, ImageId, ImageManifest, Labels, Limits, Name, OwnerMap, Reference, build};
use dhow_mirror::{ServeConfig, Server, TlsIdentity, Transport};
use dhow_site::{BaseUrl, OnConflict, Publication, Site};
use dhow_store::{Standing, Store};
use dhow_trust::{Certificate, KeyOptions, Keyring, SecretKey, sign};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::{elf::copy_programs, told::Story};

/// The first word with which this program is the parent of a pod.
pub(crate) const AS_POD: &str = "as-dhow-pod";

const HOST: &str = "dhow.example";
const NAME: &str = "dhow.example/hello";
const GREETING: &str = "Hello from inside of the image.";

pub(crate) fn run() -> Result<()> {
    // On the disk that the build is on, if it can be: an EROFS image cannot be mounted from a tmpfs.
    let parent = env::current_exe()?
        .parent()
        .context("a program is in a directory")?
        .to_owned();
    let home = tempfile::tempdir_in(parent).or_else(|_| tempfile::tempdir())?;
    let home = home.path();
    let mut story = Story::begin("From a directory to a running app, by its name alone:");

    let archive = home.join("hello.aci");
    let built = build_image(&mut story, home, &archive)?;
    let (key, signature) = sign_image(&mut story, &archive)?;
    let runtime = dhow_fetchers::runtime()?;
    let id = runtime.block_on(publish_and_fetch(&mut story, home, &archive, &key, &signature, &built))?;
    drop(runtime);
    run_pod(&mut story, home, &id)?;
    story.end("That is dhow.");
    Ok(())
}

fn build_image(story: &mut Story, home: &Path, archive: &Path) -> Result<Built> {
    story.step(
        "Build an image from a directory.",
        "dhow build --rootfs ./root --name dhow.example/hello --label version=1.0.0 --exec /bin/sh … -o hello.aci",
    );
    let rootfs = home.join("root");
    for directory in ["etc", "tmp", "proc", "sys", "dev"] {
        fs::create_dir_all(rootfs.join(directory))?;
    }
    fs::set_permissions(rootfs.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    let programs = copy_programs(&["sh", "cat", "ls", "id", "hostname"], &rootfs)?;
    ensure!(
        programs.iter().any(|program| program.ends_with("sh")),
        "this machine has no `sh` to put into the image"
    );
    if !rootfs.join("bin").exists() {
        symlink("usr/bin", rootfs.join("bin"))?;
    }
    fs::write(rootfs.join("etc/greeting"), format!("{GREETING}\n"))?;

    let mut manifest = ImageManifest::new(Name::new(NAME)?);
    manifest.labels.insert(Name::new("version")?, "1.0.0")?;
    for label in host_labels().iter() {
        manifest.labels.insert(label.name.clone(), label.value.clone())?;
    }
    let script =
        "read -r greeting < /etc/greeting; echo \"$greeting\"; echo \"I am process $$ on $(hostname).\"; exit 7";
    let script = if programs.iter().any(|program| program.ends_with("hostname")) {
        script.to_owned()
    } else {
        script.replace(" on $(hostname)", "")
    };
    manifest.app = Some(App::new(["/bin/sh", "-c", &script].map(str::to_owned).to_vec()));

    let options = BuildOptions {
        source_date_epoch: Some(1_700_000_000),
        owners: OwnerMap::all(0, 0),
        ..BuildOptions::default()
    };
    let built = build(&manifest, &rootfs, &options, File::create(archive)?)?;
    let names: Vec<_> = programs.iter().map(|program| program.display().to_string()).collect();
    story.fact(format_args!(
        "{} with their libraries: {} entries, {} KiB",
        names.join(", "),
        built.entries,
        built.tar_size >> 10
    ));
    story.fact(format_args!("image ID {}…", built.id.short()));
    let again = build(&manifest, &rootfs, &options, std::io::sink())?;
    ensure!(again.id == built.id, "the same input gave another image");
    story.fact("checked: the same input gives the same image ID");
    story.done();
    Ok(built)
}

fn sign_image(story: &mut Story, archive: &Path) -> Result<(SecretKey, Vec<u8>)> {
    story.step(
        "Make a key and sign the archive.",
        "dhow key generate 'Carly <carly@dhow.example>'; dhow sign hello.aci",
    );
    let key = SecretKey::generate("Carly <carly@dhow.example>", &KeyOptions::default())?;
    let signature = sign(&key, File::open(archive)?)?;
    story.fact(format_args!("fingerprint {}", key.fingerprint()));
    story.done();
    Ok((key, signature))
}

/// The steps that speak HTTP.
async fn publish_and_fetch(
    story: &mut Story,
    home: &Path,
    archive: &Path,
    key: &SecretKey,
    signature: &[u8],
    built: &Built,
) -> Result<ImageId> {
    let site = publish(story, home, archive, key, signature).await?;
    let (ca, address) = serve(story, home, site).await?;

    let connect_to = format!("{HOST}:443:{}:{}", address.ip(), address.port()).parse()?;
    let options = HttpOptions {
        ca: vec![ca],
        connect_to: vec![connect_to],
        ..HttpOptions::default()
    };
    let client = HttpClient::new(options)?;
    find(story, &client).await?;
    let keyring = trust(story, home, &client, key).await?;
    let context = FetchContext::new(client, Store::open(&home.join("data"))?, keyring);
    let id = fetch_image(story, &context).await?;
    ensure!(
        id == built.id,
        "the store holds another image than the one that was built"
    );
    refuse_altered(story, home, &context).await?;
    Ok(id)
}

async fn publish(story: &mut Story, home: &Path, archive: &Path, key: &SecretKey, signature: &[u8]) -> Result<Site> {
    story.step(
        "Publish it: write a directory that any web server can serve.",
        "dhow publish hello.aci --site ./site --url https://dhow.example",
    );
    let base = BaseUrl::new(format!("https://{HOST}").parse()?)?;
    let site = Site::open_directory(&home.join("site"), base)?;
    let certificates = [key.certificate()];
    let publication = Publication {
        archive,
        signature,
        certificates: &certificates,
        limits: Limits::default(),
        on_conflict: OnConflict::default(),
        catalog: None,
    };
    let published = site.publish(publication).await?;
    story.fact(format_args!("wrote {}", published.written.join(", ")));
    story.done();
    Ok(site)
}

/// Serves the site over TLS, and gives its certificate authority and address.
async fn serve(story: &mut Story, home: &Path, site: Site) -> Result<(PathBuf, SocketAddr)> {
    story.step(
        "Serve the site over TLS.",
        "dhow mirror serve --site ./site --tls-cert cert.pem --tls-key key.pem",
    );
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let server_key = KeyPair::generate()?;
    let certificate = CertificateParams::new([HOST.to_owned()])?.signed_by(&server_key, &authority)?;
    let identity = TlsIdentity::from_pem(certificate.pem().as_bytes(), server_key.serialize_pem().as_bytes())?;
    let ca = home.join("ca.pem");
    fs::write(&ca, authority.pem())?;
    let server = Server::bind(ServeConfig {
        files: site.files().clone(),
        listen: "127.0.0.1:0".parse()?,
        transport: Transport::Tls(identity),
    })?;
    let address = server.local_addr();
    tokio::spawn(server.run());
    story.fact(format_args!(
        "https://{HOST} is at {address}, with a certificate of an authority made for it"
    ));
    story.done();
    Ok((ca, address))
}

async fn find(story: &mut Story, client: &HttpClient) -> Result<Discovery> {
    story.step(
        "Discover the image by its name.",
        "dhow discover --explain dhow.example/hello:1.0.0",
    );
    let Reference::Named { name, labels } = format!("{NAME}:1.0.0").parse()? else {
        bail!("`{NAME}` is a name")
    };
    let origin = Origin::of_name(&name);
    let discovery = discover(
        &Pages::new(client, &origin),
        &Request::new(name, labels),
        &Options::https(),
    )
    .await?;
    for line in discovery.trace.to_string().lines() {
        story.fact(line);
    }
    story.done();
    Ok(discovery)
}

async fn trust(story: &mut Story, home: &Path, client: &HttpClient, key: &SecretKey) -> Result<Keyring> {
    story.step(
        "Trust the publisher's key, after comparing its fingerprint.",
        "dhow trust add --prefix dhow.example --fingerprint …",
    );
    let prefix = Name::new(HOST)?;
    let (found, _) = fetch_pubkeys(&PubkeySource::Discovered(prefix.clone()), client, Insecure::default()).await?;
    let offered = found.first().context("the site offers its keys")?;
    let certificate = Certificate::parse(&offered.bytes)?;
    ensure!(
        certificate.fingerprint() == key.fingerprint(),
        "the site offers another key than the publisher's"
    );
    let keyring = Keyring::open([] as [PathBuf; 0], home.join("config"));
    keyring.trust(Some(&prefix), &certificate)?;
    story.fact(format_args!(
        "{} is trusted for `{prefix}` and all below it",
        certificate.fingerprint()
    ));
    story.done();
    Ok(keyring)
}

async fn fetch_image(story: &mut Story, context: &FetchContext) -> Result<ImageId> {
    story.step(
        "Fetch it, verify it, and store it.",
        "dhow fetch dhow.example/hello:1.0.0",
    );
    let fetched = fetch(&format!("{NAME}:1.0.0").parse()?, context).await?;
    let provenance = fetched.provenance.context("the image was not there before")?;
    let Verified::By(verification) = &provenance.verified else {
        bail!("the image was not verified")
    };
    story.fact(verification);
    story.fact("checked: the signature, before the archive; the archive's bytes; its name and labels; its image ID");
    let found = context
        .store
        .find(&Name::new(NAME)?, &Labels::default(), Standing::Verified)?;
    ensure!(found == Some(fetched.id), "the store does not list the image");
    story.done();
    Ok(fetched.id)
}

/// What a server that cheats achieves: nothing.
async fn refuse_altered(story: &mut Story, home: &Path, context: &FetchContext) -> Result<()> {
    story.step(
        "Alter one byte on the server, and try again.",
        "dhow fetch --pull update dhow.example/hello:1.0.0",
    );
    let labels = host_labels();
    let label = |name| labels.get(name).context("this machine has an os and an arch");
    let file = format!("site/ACI/{NAME}/1.0.0-{}-{}.aci", label("os")?, label("arch")?);
    let mut bytes = fs::read(home.join(&file))?;
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).context("an archive is not empty")? ^= 1;
    fs::write(home.join(file), bytes)?;
    let again = FetchContext {
        pull: PullPolicy::Update,
        ..context.clone()
    };
    let Err(error) = fetch(&format!("{NAME}:1.0.0").parse()?, &again).await else {
        bail!("an altered archive was taken in");
    };
    story.fact(format_args!("refused: {:#}", anyhow::Error::new(error)));
    story.done();
    Ok(())
}

fn run_pod(story: &mut Story, home: &Path, id: &ImageId) -> Result<()> {
    story.step("Run it.", "dhow run dhow.example/hello:1.0.0");
    let rootfs = Store::open(&home.join("data"))?.rootfs(id)?;
    story.fact(format_args!("root file system: {}", rootfs.describe()));
    if !rootfs.is_fastest() {
        story.fact("(composefs needs root, Linux 6.16 and a store on a disk: this is the next best way here)");
    }
    let mut command = Command::new(env::current_exe()?);
    command
        .args([AS_POD, "run", "--dir"])
        .arg(home.join("data"))
        .arg(id.to_string());
    let output = command.output()?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    for line in stdout.lines() {
        story.fact(format_args!("| {line}"));
    }
    if output.status.code() != Some(7) || !stdout.contains(GREETING) {
        bail!(
            "the app ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    story.fact("checked: its output, and its exit code, which is 7 as it should be");
    story.done();
    Ok(())
}
