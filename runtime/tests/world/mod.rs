//! A store of its own for each test, once for each kind of user that can run pods here.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use dhow_image::{BuildOptions, Compression, ImageManifest, build};
use dhow_store::Store;
use serde_json::{Value, json};
use tempfile::TempDir;

const APPLETS: [&str; 24] = [
    "sh", "cat", "ls", "id", "env", "hostname", "readlink", "ip", "ping", "grep", "head", "od", "wc", "tr", "stat",
    "mount", "sleep", "ps", "kill", "touch", "rm", "mkdir", "chmod", "cut",
];

/// Who runs the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Root of the host.
    Root,
    /// An ordinary user with ranges in `/etc/subuid` and `/etc/subgid`.
    Ranges,
    /// An ordinary user without.
    Single,
}

impl Who {
    /// The kind of user that runs the tests, who is not root.
    fn me() -> Self {
        let name = Command::new("id").arg("-un").output().unwrap().stdout;
        let name = String::from_utf8(name).unwrap();
        let has_range = |file| fs::read_to_string(file).is_ok_and(|text| text.contains(&format!("{}:", name.trim())));
        if has_range("/etc/subuid") && has_range("/etc/subgid") {
            Self::Ranges
        } else {
            Self::Single
        }
    }
}

/// A data directory, images in it, and a user to run them.
pub(crate) struct World {
    directory: TempDir,
    who: Who,
    user: Option<(u32, u32)>,
}

impl World {
    /// Runs a test once for each kind of user that there is here.
    pub(crate) fn for_each(test: impl Fn(&Self)) {
        // SAFETY: the call takes and changes nothing.
        let is_root = unsafe { libc::geteuid() } == 0;
        let kinds = if is_root {
            vec![Who::Root, Who::Ranges, Who::Single]
        } else {
            vec![Who::me()]
        };
        for who in kinds {
            // Seen with a failed assertion, and not otherwise.
            println!("as {who:?}:");
            test(&Self::new(who, is_root));
        }
    }

    fn new(who: Who, is_root: bool) -> Self {
        let directory = tempfile::Builder::new().prefix("dhow-pod-").tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // The target directory may be closed to the users that the tests make.
        fs::copy(env!("CARGO_BIN_EXE_dhow-pod"), directory.path().join("dhow-pod")).unwrap();
        let user = match who {
            _ if !is_root => None,
            Who::Root => None,
            Who::Ranges => Some(make_user("dhow-pod-ranges", &["--create-home"])),
            Who::Single => Some(make_user("dhow-pod-single", &["--system", "--create-home"])),
        };
        let world = Self { directory, who, user };
        fs::create_dir(world.data()).unwrap();
        world.give(&world.data());
        world
    }

    pub(crate) fn who(&self) -> Who {
        self.who
    }

    pub(crate) fn uid(&self) -> u32 {
        // SAFETY: the call takes and changes nothing.
        self.user.map_or_else(|| unsafe { libc::geteuid() }, |(uid, _)| uid)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) fn program(&self) -> PathBuf {
        self.directory.path().join("dhow-pod")
    }

    /// Makes an image called `example.com/app` that runs a shell, after `change` has changed it, and gives its ID.
    pub(crate) fn image(&self, change: impl FnOnce(&mut Image)) -> String {
        let rootfs = tempfile::tempdir_in(self.directory.path()).unwrap();
        let app = json!({"exec": ["/bin/sh"], "user": "0", "group": "0"});
        let mut image = Image {
            rootfs: rootfs.path().to_owned(),
            app,
            has_app: true,
        };
        fs::set_permissions(rootfs.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for directory in ["bin", "etc", "mnt", "root", "tmp"] {
            image.directory(directory);
        }
        image.file_with_mode(
            "bin/busybox",
            &fs::read("/bin/busybox").expect("busybox-static is installed"),
            0o755,
        );
        for applet in APPLETS {
            image.link(&format!("bin/{applet}"), "busybox");
        }
        image.link("bin/true", "busybox");
        image.file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
        change(&mut image);

        let mut manifest = json!({"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/app"});
        if image.has_app {
            manifest["app"] = image.app;
        }
        let manifest = ImageManifest::from_json(manifest.to_string().as_bytes()).unwrap();
        let options = BuildOptions {
            compression: Compression::None,
            source_date_epoch: None,
            owners: dhow_image::OwnerMap::all(0, 0),
            ..BuildOptions::default()
        };
        let mut archive = Vec::new();
        build(&manifest, rootfs.path(), &options, &mut archive).unwrap();
        let store = Store::open(&self.data()).unwrap();
        let id = store
            .stage(archive.as_slice())
            .unwrap()
            .commit(&json!({}), dhow_store::Standing::Verified)
            .unwrap();
        self.give(&self.data());
        id.to_string()
    }

    /// `dhow-pod` with these arguments.
    pub(crate) fn pod<const N: usize>(&self, arguments: [&str; N]) -> Run<'_> {
        Run {
            world: self,
            options: arguments.map(str::to_owned).to_vec(),
            image: None,
            after: Vec::new(),
            args: Vec::new(),
            more: Vec::new(),
            env: BTreeMap::new(),
        }
    }

    /// `dhow-pod run` of an image.
    pub(crate) fn run(&self, image: &str) -> Run<'_> {
        Run {
            image: Some(image.to_owned()),
            ..self.pod(["run"])
        }
    }

    /// Runs a script in a plain image.
    pub(crate) fn sh(&self, script: &str) -> Run<'_> {
        self.run(&self.image(|_| {})).args(["-c", script])
    }

    pub(crate) fn list(&self) -> Vec<Value> {
        serde_json::from_str(&self.pod(["list", "--format=json"]).ok()).unwrap()
    }

    /// The newest pod.
    pub(crate) fn only_pod(&self) -> Value {
        self.list().pop().expect("there is a pod")
    }

    pub(crate) fn host_directory(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    }

    pub(crate) fn host_file(&self, name: &str, content: &str) -> String {
        let path = self.directory.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Makes everything at `path` belong to whoever runs the pods.
    pub(crate) fn give(&self, path: &Path) {
        let Some((uid, gid)) = self.user else { return };
        let owner = format!("{uid}:{gid}");
        // What pods wrote belongs to IDs of their own.
        let pods = path.join("pods");
        let targets = if pods.is_dir() {
            fs::read_dir(path)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|entry| *entry != pods)
                .collect()
        } else {
            vec![path.to_owned()]
        };
        assert!(
            Command::new("chown")
                .args(["-RhP", &owner])
                .args(targets)
                .status()
                .unwrap()
                .success()
        );
        assert!(Command::new("chown").arg(&owner).arg(path).status().unwrap().success());
        if pods.is_dir() {
            assert!(Command::new("chown").arg(&owner).arg(&pods).status().unwrap().success());
        }
    }
}

/// An image in the making.
pub(crate) struct Image {
    rootfs: PathBuf,
    pub(crate) app: Value,
    pub(crate) has_app: bool,
}

impl Image {
    pub(crate) fn directory(&mut self, path: &str) {
        fs::create_dir_all(self.rootfs.join(path)).unwrap();
        fs::set_permissions(self.rootfs.join(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn file(&mut self, path: &str, content: &str) {
        self.file_with_mode(path, content.as_bytes(), 0o644);
    }

    pub(crate) fn file_with_mode(&mut self, path: &str, content: &[u8], mode: u32) {
        self.directory(Path::new(path).parent().unwrap().to_str().unwrap());
        fs::write(self.rootfs.join(path), content).unwrap();
        fs::set_permissions(self.rootfs.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A program of the host, with the shared libraries that it is linked with.
    pub(crate) fn host_program(&mut self, program: &str, path: &str, mode: u32) {
        self.file_with_mode(path, &fs::read(program).unwrap(), mode);
        let libraries = Command::new("ldd").arg(program).output().unwrap().stdout;
        let libraries = String::from_utf8(libraries).unwrap();
        for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
            self.file_with_mode(library.trim_start_matches('/'), &fs::read(library).unwrap(), 0o755);
        }
    }

    pub(crate) fn link(&mut self, path: &str, target: &str) {
        symlink(target, self.rootfs.join(path)).unwrap();
    }
}

/// One call of the program.
pub(crate) struct Run<'a> {
    world: &'a World,
    options: Vec<String>,
    image: Option<String>,
    after: Vec<String>,
    args: Vec<String>,
    more: Vec<String>,
    env: BTreeMap<String, String>,
}

/// What a call printed, and its exit code.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: i32,
}

impl Run<'_> {
    /// An option before the image.
    pub(crate) fn option(mut self, option: &str) -> Self {
        self.options.push(option.to_owned());
        self
    }

    /// Options after the image.
    pub(crate) fn after<T: Options>(mut self, options: T) -> Self {
        self.after.extend(options.strings());
        self
    }

    /// What the app is passed.
    pub(crate) fn args<const N: usize>(mut self, args: [&str; N]) -> Self {
        self.args = args.map(str::to_owned).to_vec();
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Another app of the pod.
    pub(crate) fn next_app(mut self, image: &str, options: &[&str], args: &[&str]) -> Self {
        self.more.extend(["---", image].map(str::to_owned));
        self.more.extend(options.iter().map(|option| (*option).to_owned()));
        self.more.push("--".to_owned());
        self.more.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    fn command(&self) -> Command {
        let program = self.world.program();
        let mut command = match self.world.user {
            None => Command::new(program),
            Some((uid, gid)) => {
                let mut command = Command::new("setpriv");
                command
                    .args([format!("--reuid={uid}"), format!("--regid={gid}")])
                    .arg("--clear-groups")
                    .arg(program);
                command
            }
        };
        command.arg("--dir").arg(self.world.data()).args(&self.options);
        command.args(&self.image).args(&self.after);
        if !self.args.is_empty() {
            command.arg("--").args(&self.args);
        }
        command.args(&self.more).envs(&self.env).stdin(Stdio::null());
        command
    }

    pub(crate) fn output(self) -> Output {
        let output = self.command().output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Output {
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            code: output.status.code().unwrap_or(-1),
        }
    }

    /// What it printed; it must succeed.
    pub(crate) fn ok(self) -> String {
        let output = self.output();
        assert_eq!(output.code, 0, "{output:?}");
        output.stdout
    }

    /// Starts it and lets it run.
    pub(crate) fn start(self) -> Running {
        Running::spawn(self.command().stdout(Stdio::piped()))
    }

    /// Starts it in a terminal of its own, with what it prints there as its stdout.
    pub(crate) fn start_in_terminal(self) -> Running {
        let quote = |word: &std::ffi::OsStr| format!("'{}'", word.to_str().unwrap().replace('\'', "'\\''"));
        let command = self.command();
        let words: Vec<_> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(quote)
            .collect();
        let mut script = Command::new("script");
        // `exec`: a shell left between would be in the terminal's foreground group too, and die of its signals.
        let command = format!("exec {}", words.join(" "));
        script.args(["-qec", &command, "/dev/null"]).envs(&self.env);
        Running::spawn(script.stdin(Stdio::piped()).stdout(Stdio::piped()))
    }
}

/// One option or several.
pub(crate) trait Options {
    fn strings(self) -> Vec<String>;
}

impl Options for &str {
    fn strings(self) -> Vec<String> {
        vec![self.to_owned()]
    }
}

impl<const N: usize> Options for [&str; N] {
    fn strings(self) -> Vec<String> {
        self.map(str::to_owned).to_vec()
    }
}

/// A call that goes on. `setpriv` executes the program in its own place, so the child is the pod's parent.
pub(crate) struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    /// Types into the terminal that it was started in.
    pub(crate) fn type_in(&mut self, keys: &str) {
        self.child.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    pub(crate) fn expect_line(&mut self, expected: &str) {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), expected);
    }

    pub(crate) fn signal(&self, signal: i32) {
        // SAFETY: the call takes numbers only, and the child is not waited for yet.
        assert_eq!(unsafe { libc::kill(self.child.id().cast_signed(), signal) }, 0);
    }

    /// Its exit code, or minus one where a signal killed it.
    pub(crate) fn wait(&mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn wait_until(time: Duration, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < time, "it did not happen within {time:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// The user and group IDs of a user of the machine, who is added where missing. Tests run side by side.
fn make_user(name: &str, options: &[&str]) -> (u32, u32) {
    let lock = File::create(std::env::temp_dir().join("dhow-pod-test-users.lock")).unwrap();
    lock.lock().unwrap();
    let ids = || {
        let passwd = fs::read_to_string("/etc/passwd").unwrap();
        let line = passwd.lines().find(|line| line.starts_with(&format!("{name}:")))?;
        let fields: Vec<_> = line.split(':').collect();
        Some((fields[2].parse().unwrap(), fields[3].parse().unwrap()))
    };
    ids().unwrap_or_else(|| {
        assert!(
            Command::new("useradd")
                .args(options)
                .arg(name)
                .status()
                .unwrap()
                .success()
        );
        ids().unwrap()
    })
}
