//! `/dev/console` of a pod that has no terminal (appc spec, OS-SPEC.md, "Devices and File Systems").

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr},
};

nix::ioctl_write_ptr_bad!(unlock_terminal, libc::TIOCSPTLCK, libc::c_int);
nix::ioctl_read_bad!(terminal_number, libc::TIOCGPTN, libc::c_uint);

/// A terminal whose output goes to the pod's stderr: the kernel's own console is not the pod's to write to.
pub(super) struct ConsolePty {
    main: File,
    /// Held open, since a terminal that nobody has open reports its end over and over.
    _other: File,
    path: PathBuf,
}

impl ConsolePty {
    /// Makes one in the devpts that is mounted at `devpts`.
    pub(super) fn new(devpts: &Path) -> io::Result<Self> {
        let main = File::options().read(true).write(true).open(devpts.join("ptmx"))?;
        let (mut number, unlocked) = (0, 0);
        // SAFETY: `main` is a terminal's main end, and both numbers live through the calls.
        unsafe {
            use std::os::fd::AsRawFd;
            unlock_terminal(main.as_raw_fd(), &raw const unlocked)?;
            terminal_number(main.as_raw_fd(), &raw mut number)?;
        }
        let path = devpts.join(number.to_string());
        use std::os::unix::fs::OpenOptionsExt;
        let other = File::options()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOCTTY)
            .open(&path)?;
        let mut settings = tcgetattr(&other)?;
        cfmakeraw(&mut settings);
        tcsetattr(&other, SetArg::TCSANOW, &settings)?;
        fcntl(main.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self {
            main,
            _other: other,
            path,
        })
    }

    /// Where an app opens it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Passes on what was written to it.
    pub(super) fn drain(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = self.main.read(&mut buffer) {
            let _ = io::stderr().write_all(&buffer[..length]);
        }
    }
}

impl AsFd for ConsolePty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.main.as_fd()
    }
}
