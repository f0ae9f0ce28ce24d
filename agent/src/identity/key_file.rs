//! The key file of a data directory: PKCS#8, readable by its owner only, whole or not there at all.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::key::{KeyFault, NodeKey};
use crate::whole_file::write_whole;

/// The name of the key file in a data directory.
const NAME: &str = "node.key";

/// A key file longer than this is not one; the PKCS#8 form has 48 to 83 bytes.
const LENGTH_MAX: u64 = 1024;

/// A key file could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileFault {
    /// The file system refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
    /// The file is there but holds no key: restore it from a copy, or remove it and enrol the site
    /// anew.
    #[error(
        "{}: {fault}; put back a copy of it, or remove it and enrol this site again \
         with a new token",
        path.display()
    )]
    NotAKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: KeyFault,
    },
}

impl NodeKey {
    /// Reads the key of the data directory; `None` if it has none yet.
    ///
    /// A file that others may read is made private first, and the log says so.
    ///
    /// # Errors
    /// [`KeyFileFault`] if the file cannot be read or holds no key.
    pub fn load(data: &Path) -> Result<Option<Self>, KeyFileFault> {
        let path = data.join(NAME);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(KeyFileFault::Io { path, error }),
        };
        make_private(&file, &path);
        let mut pkcs8 = Vec::new();
        if let Err(error) = file.take(LENGTH_MAX).read_to_end(&mut pkcs8) {
            return Err(KeyFileFault::Io { path, error });
        }
        match Self::from_pkcs8(&pkcs8) {
            Ok(key) => Ok(Some(key)),
            Err(fault) => Err(KeyFileFault::NotAKey { path, fault }),
        }
    }

    /// Reads the key of the data directory, or makes one from `seed` ([`NodeKey::from_seed`]) and
    /// stores it. The caller holds the lock of the directory.
    ///
    /// # Errors
    /// [`KeyFileFault`]; a damaged file is never replaced by a new key, because the site would lose
    /// its identity.
    pub fn load_or_create(data: &Path, seed: [u8; 32]) -> Result<Self, KeyFileFault> {
        if let Some(key) = Self::load(data)? {
            return Ok(key);
        }
        Self::replace(data, seed)
    }

    /// Makes a key from `seed` and stores it in place of the one that is there. The caller holds
    /// the lock of the directory.
    ///
    /// # Errors
    /// [`KeyFileFault`]; the old key is still there then.
    pub fn replace(data: &Path, seed: [u8; 32]) -> Result<Self, KeyFileFault> {
        let path = data.join(NAME);
        let key = Self::from_seed(seed);
        write_whole(&path, key.pkcs8(), 0o600).map_err(|error| KeyFileFault::Io { path, error })?;
        Ok(key)
    }
}

/// A file system without modes (a FAT card) cannot be made private; a node there still has to
/// start.
fn make_private(file: &File, path: &Path) {
    let Ok(metadata) = file.metadata() else { return };
    if metadata.permissions().mode() & 0o077 == 0 {
        return;
    }
    match file.set_permissions(fs::Permissions::from_mode(0o600)) {
        Ok(()) => {
            tracing::warn!(path = %path.display(), "others could read the node key; made private")
        }
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "others can read the node key");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("landfall-key-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_key_is_made_once_private_and_found_again() {
        let folder = Folder::new("once");
        assert!(NodeKey::load(&folder.0).unwrap().is_none());
        let made = NodeKey::load_or_create(&folder.0, [1; 32]).unwrap();
        let found = NodeKey::load_or_create(&folder.0, [2; 32]).unwrap();
        assert_eq!(made.public(), found.public());
        let mode = fs::metadata(folder.0.join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_draft_left_by_a_power_cut_is_no_obstacle() {
        let folder = Folder::new("draft");
        fs::write(folder.0.join("node.draft"), b"half").unwrap();
        NodeKey::load_or_create(&folder.0, [1; 32]).unwrap();
    }

    #[test]
    fn a_damaged_key_is_reported_and_kept() {
        let folder = Folder::new("damaged");
        let path = folder.0.join(NAME);
        fs::write(&path, b"not a key").unwrap();
        let fault = NodeKey::load_or_create(&folder.0, [1; 32]).unwrap_err();
        assert!(matches!(fault, KeyFileFault::NotAKey { .. }), "{fault}");
        assert_eq!(fs::read(&path).unwrap(), b"not a key");
    }

    #[test]
    fn a_key_that_others_may_read_is_made_private() {
        let folder = Folder::new("open");
        NodeKey::load_or_create(&folder.0, [1; 32]).unwrap();
        let path = folder.0.join(NAME);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        NodeKey::load(&folder.0).unwrap().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
