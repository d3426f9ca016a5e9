//! `dhow sign`.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use dhow_trust::SecretKey;

use crate::context::{Context, print};

/// Signs a file: writes an armored detached signature beside it, as FILE.asc.
#[derive(Args)]
#[command(after_help = "Example:\n  dhow sign app.aci --key carly@example.com")]
pub(crate) struct SignArguments {
    /// The file to sign
    file: PathBuf,
    /// A key: a part of its user ID, the end of its fingerprint, or its file [default: your only one]
    #[arg(long)]
    key: Option<String>,
    /// The signature to write [default: FILE.asc]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Overwrites the signature if it is there
    #[arg(long)]
    overwrite: bool,
}

pub(crate) fn sign(context: &Context, options: SignArguments) -> Result<()> {
    let key = find_key(context, options.key.as_deref())?;
    let output = options.output.unwrap_or_else(|| signature_path(&options.file));
    if output.exists() && !options.overwrite {
        bail!("`{}` exists: --overwrite replaces it", output.display());
    }
    let signature = sign_file(&key, &options.file)?;
    fs::write(&output, signature).with_context(|| format!("Could not write `{}`", output.display()))?;
    context.say(format_args!("Signed `{}` with {}", options.file.display(), key.label()));
    print(output.display());
    Ok(())
}

/// The signature of a file, armored.
pub(crate) fn sign_file(key: &SecretKey, file: &Path) -> Result<Vec<u8>> {
    let data = File::open(file).with_context(|| format!("Could not open `{}`", file.display()))?;
    dhow_trust::sign(key, data).with_context(|| format!("Could not sign `{}`", file.display()))
}

/// Where the signature of a file is: beside it, with `.asc` at the end (appc spec, aci.md, "Image Archives").
pub(crate) fn signature_path(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(".asc");
    path.into()
}

/// The key that the user means: the only one where none is named.
pub(crate) fn find_key(context: &Context, query: Option<&str>) -> Result<SecretKey> {
    match query {
        Some(path) if Path::new(path).is_file() => Ok(SecretKey::open(Path::new(path))?),
        Some(query) => Ok(context.keys()?.find(query)?),
        None => {
            let mut keys = context.keys()?.list()?;
            match (keys.pop(), keys.is_empty()) {
                (Some(only), true) => Ok(only),
                (Some(_), false) => bail!("You have several keys: choose one with --key (`dhow key list` shows them)"),
                (None, _) => bail!("You have no key to sign with: `dhow key generate` makes one"),
            }
        }
    }
}
