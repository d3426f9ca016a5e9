//! Running from a sealed copy of this program.
//!
//! An image may name `/proc/self/exe` as its program, or as the interpreter of a script: the kernel then runs this
//! very program inside of the pod, and an app that is root could write to it through `/proc/<pid>/exe`, on the host
//! (CVE-2019-5736). So whoever becomes the parent of a pod first executes itself again from a sealed file in memory,
//! which nobody can write to.

use std::{
    ffi::CString,
    fs::File,
    io,
    os::{fd::AsFd, unix::ffi::OsStringExt},
};

use nix::{
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
    unistd::fexecve,
};

use crate::PodError;

/// Executes this program again from a sealed copy, with the same arguments and environment, unless it is one already.
pub(crate) fn ensure() -> Result<(), PodError> {
    let itself = File::open("/proc/self/exe").map_err(PodError::file("read", "/proc/self/exe"))?;
    if fcntl(itself.as_fd(), FcntlArg::F_GET_SEALS)
        .is_ok_and(|seals| SealFlag::from_bits_retain(seals).contains(seals_all()))
    {
        // The kernel names a process after the file it executes; `ps` should still show this one's name.
        let _ = nix::sys::prctl::set_name(c"dhow-pod");
        return Ok(());
    }
    match execute_copy(itself) {
        Ok(never) => match never {},
        Err(error) => Err(PodError::system("run from a sealed copy of this program")(error)),
    }
}

fn execute_copy(mut itself: File) -> io::Result<std::convert::Infallible> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    // Linux 6.3 wants to be told that the file is for executing; older ones do not know the flag.
    let executable = MFdFlags::from_bits_retain(libc::MFD_EXEC);
    let copy = memfd_create(c"dhow-pod", flags | executable).or_else(|_| memfd_create(c"dhow-pod", flags))?;
    let mut copy = File::from(copy);
    io::copy(&mut itself, &mut copy)?;
    fcntl(copy.as_fd(), FcntlArg::F_ADD_SEALS(seals_all()))?;
    let arguments: Vec<CString> = c_strings(std::env::args_os().map(OsStringExt::into_vec))?;
    let environment = c_strings(std::env::vars_os().map(|(name, value)| {
        let mut variable = name.into_vec();
        variable.push(b'=');
        variable.extend(value.into_vec());
        variable
    }))?;
    Ok(fexecve(copy.as_fd(), &arguments, &environment)?)
}

fn c_strings(values: impl Iterator<Item = Vec<u8>>) -> io::Result<Vec<CString>> {
    values
        .map(|value| CString::new(value).map_err(io::Error::from))
        .collect()
}

fn seals_all() -> SealFlag {
    SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE
}
