//! The system's files as the log's disk, and the lock that keeps a second process out.

use crate::error::StorageError;
use crate::sys;
use fanfare_core::disk::{Disk, DiskFile, OpenError, foreign};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

const LOCK: &str = "LOCK";

/// One directory.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    writable: bool,
}

/// Held as long as the directory is used. The system lets go of it however the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Directory {
    /// Makes the directory if there is none, and takes it for this process.
    pub(crate) fn take(path: &Path) -> Result<(Self, Lock), StorageError> {
        let failed = |what: &'static str| move |error| StorageError::Directory { what, error };
        if path.exists() && !path.is_dir() {
            return Err(StorageError::NotADirectory);
        }
        make(path).map_err(failed("make"))?;
        // Somebody else's directory gets no lock of ours.
        let names = Self::look_at(path)?.list().map_err(failed("list"))?;
        if let Some(name) = foreign(&names) {
            return Err(StorageError::Open(OpenError::Foreign(name.to_owned())));
        }
        let lock = private().create(true).truncate(false).open(path.join(LOCK));
        let mut lock = lock.map_err(failed("write to"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = io::read_to_string(&lock).ok().and_then(|text| text.trim().parse().ok());
                return Err(StorageError::Taken { holder });
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock")(error)),
        }
        // For the message above; whoever cannot read it still has the lock to go by.
        _ = lock.set_len(0).and_then(|()| write!(lock, "{}", std::process::id()));
        Ok((Self { path: path.to_owned(), writable: true }, Lock { _file: lock }))
    }

    /// A directory to look at. Nothing in it is changed, and somebody else may be using it.
    pub(crate) fn look_at(path: &Path) -> Result<Self, StorageError> {
        match std::fs::metadata(path) {
            Ok(found) if !found.is_dir() => Err(StorageError::NotADirectory),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StorageError::Missing),
            // Whatever else is wrong with it is said where it is read.
            _ => Ok(Self { path: path.to_owned(), writable: false }),
        }
    }

    fn write(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

/// For its owner alone, where it is made here: it will hold what users send each other.
fn make(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// To read and write; a file that is made is for its owner alone, whoever may look into the directory.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

impl Disk for Directory {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            // A name that is no text is none of ours, and is shown as well as it can be.
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(self.writable).open(self.path.join(name))?;
        Ok(Box::new(SystemFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.write()?;
        let file = private().create_new(true).open(self.path.join(name))?;
        Ok(Box::new(SystemFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.write()?;
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.write()?;
        std::fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        // Elsewhere a directory cannot be opened as a file, and names are safe with the file.
        #[cfg(unix)]
        File::open(&self.path)?.sync_all()?;
        Ok(())
    }
}

#[derive(Debug)]
struct SystemFile(File);

impl DiskFile for SystemFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    #[cfg(unix)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.0, buffer, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(&self.0, buffer, offset)
    }

    #[cfg(unix)]
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.0, bytes, offset)
    }

    #[cfg(windows)]
    fn write_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = std::os::windows::fs::FileExt::seek_write(&self.0, bytes, offset)?;
            bytes = &bytes[written..];
            offset += written as u64;
        }
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        sys::allocate(&self.0, len)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
