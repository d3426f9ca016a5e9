//! Passphrases: from a file, or from the person at the terminal.

use std::{
    io::IsTerminal,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result, bail};
use dhow_trust::{KeyStore, Passphrase, PassphraseRequest, SecretKey, Secrets};

use crate::context::Context;

/// What was typed last for each key or file: nobody types it twice for one command.
static TYPED: Mutex<Vec<(PassphraseRequest, Passphrase)>> = Mutex::new(Vec::new());

/// The user's own keys and passphrases.
pub(crate) struct UserSecrets {
    keys: KeyStore,
    /// Keys that the command line names besides.
    more: Vec<SecretKey>,
    file: Option<PathBuf>,
}

impl UserSecrets {
    pub(crate) fn new(context: &Context) -> Result<Self> {
        Ok(Self {
            keys: context.keys()?,
            more: Vec::new(),
            file: context.global.passphrase_file.clone(),
        })
    }

    pub(crate) fn with_keys(mut self, keys: Vec<SecretKey>) -> Self {
        self.more = keys;
        self
    }
}

impl Secrets for UserSecrets {
    fn keys(&self) -> Result<Vec<SecretKey>, dhow_trust::Error> {
        let mut keys = self.more.clone();
        keys.extend(self.keys.list()?);
        Ok(keys)
    }

    fn passphrase(&self, request: &PassphraseRequest, attempt: u32) -> Result<Option<Passphrase>, dhow_trust::Error> {
        if let Some(path) = &self.file {
            return match attempt {
                0 => Passphrase::from_file(path).map(Some),
                _ => Ok(None),
            };
        }
        let mut typed = TYPED.lock().unwrap_or_else(PoisonError::into_inner);
        let known = typed.iter().position(|(of, _)| of == request);
        match known {
            Some(known) if attempt == 0 => return Ok(Some(typed[known].1.clone())),
            Some(known) => drop(typed.swap_remove(known)),
            None => {}
        }
        let again = if attempt > 0 { "Wrong. " } else { "" };
        let answer = ask(&format!("{again}Passphrase of {request}: "));
        if let Some(passphrase) = &answer {
            typed.push((request.clone(), passphrase.clone()));
        }
        Ok(answer)
    }
}

/// A new passphrase: from the file, or typed twice. `None` where there is neither a file nor anybody to ask.
pub(crate) fn new_passphrase(context: &Context, what: &str) -> Result<Option<Passphrase>> {
    if let Some(path) = &context.global.passphrase_file {
        let passphrase = Passphrase::from_file(path);
        return Ok(Some(passphrase.context("Could not take the passphrase from a file")?));
    }
    if !is_anybody_there() {
        return Ok(None);
    }
    let Some(passphrase) = ask(&format!("New passphrase for {what}: ")) else {
        bail!("A passphrase is not empty");
    };
    if ask("The same again: ") != Some(passphrase.clone()) {
        bail!("The two are not the same");
    }
    Ok(Some(passphrase))
}

/// What a person types, unseen. `None` where there is nobody, or nothing is typed.
fn ask(question: &str) -> Option<Passphrase> {
    if !is_anybody_there() {
        return None;
    }
    let typed = rpassword::prompt_password(question).ok()?;
    (!typed.is_empty()).then(|| typed.into())
}

pub(crate) fn is_anybody_there() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}
