//! The token that programs without the socket show: a file that only its owner can read.

use std::fmt;
use std::fmt::Write as _;
use std::fs;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::server::Access;
use crate::entropy;
use crate::whole_file::write_whole;

/// Why there is no token.
#[derive(Debug)]
#[non_exhaustive]
pub enum TokenFileError {
    /// The system refuses the path.
    Unusable(PathBuf, std::io::Error),
    /// Others than its owner may read or change it.
    TooOpen(PathBuf),
    /// It holds no token: fewer than 32 visible characters, or more than 256.
    NotAToken(PathBuf),
    /// No randomness to make one from.
    NoEntropy(entropy::NoEntropy),
}

/// Bytes of randomness in a token that is made here.
const TOKEN_RANDOM_BYTES: usize = 32;
const TOKEN_BYTES_MIN: usize = 32;
const TOKEN_BYTES_MAX: usize = 256;

impl Access {
    /// Access for holders of the token in the file at `path`, which is made if it is missing.
    ///
    /// # Errors
    /// When the file cannot be used, or others could read it.
    pub fn by_token_file(path: &Path) -> Result<Self, TokenFileError> {
        let unusable = |error| TokenFileError::Unusable(path.to_owned(), error);
        match fs::symlink_metadata(path) {
            Ok(_) => read_token(path),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let token = new_token().map_err(TokenFileError::NoEntropy)?;
                write_whole(path, format!("{token}\n").as_bytes(), 0o600).map_err(unusable)?;
                Ok(Self::Bearer(token.into()))
            }
            Err(error) => Err(unusable(error)),
        }
    }
}

fn new_token() -> Result<String, entropy::NoEntropy> {
    let mut random = [0; TOKEN_RANDOM_BYTES];
    entropy::fill(&mut random)?;
    let mut token = String::new();
    for byte in random {
        // Writing to a string does not fail.
        let _ = write!(token, "{byte:02x}");
    }
    Ok(token)
}

fn read_token(path: &Path) -> Result<Access, TokenFileError> {
    let unusable = |error| TokenFileError::Unusable(path.to_owned(), error);
    let file = fs::File::open(path).map_err(unusable)?;
    if file.metadata().map_err(unusable)?.permissions().mode() & 0o077 != 0 {
        return Err(TokenFileError::TooOpen(path.to_owned()));
    }
    let mut text = String::new();
    // One more than fits tells a token that is too long.
    let most = TOKEN_BYTES_MAX as u64 + 2;
    file.take(most).read_to_string(&mut text).map_err(unusable)?;
    let token = text.trim();
    let fits = (TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&token.len());
    if !fits || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenFileError::NotAToken(path.to_owned()));
    }
    Ok(Access::Bearer(Arc::from(token)))
}

impl fmt::Display for TokenFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(path, error) => write!(
                f,
                "cannot use the token file {}: {error}; set another `api.token_file`",
                path.display()
            ),
            Self::TooOpen(path) => {
                write!(f, "others can read {0}; run `chmod 600 {0}`", path.display())
            }
            Self::NotAToken(path) => write!(
                f,
                "{} holds no token of {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} visible characters; \
                 remove it, and a new one is made",
                path.display()
            ),
            Self::NoEntropy(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TokenFileError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(path: &Path) -> Result<Arc<str>, TokenFileError> {
        match Access::by_token_file(path)? {
            Access::Bearer(token) => Ok(token),
            Access::Everyone => panic!("no token is asked for"),
        }
    }

    #[test]
    fn a_token_is_made_once_and_kept_from_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.token");
        let made = token(&path).unwrap();
        assert_eq!(made.len(), 2 * TOKEN_RANDOM_BYTES);
        assert_eq!(token(&path).unwrap(), made);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        std::fs::write(&path, "short\n").unwrap();
        assert!(matches!(token(&path), Err(TokenFileError::NotAToken(_))));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(token(&path), Err(TokenFileError::TooOpen(_))));
        let missing = folder.path().join("no/api.token");
        assert!(matches!(token(&missing), Err(TokenFileError::Unusable(..))));
    }
}
