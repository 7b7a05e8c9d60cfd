//! What the log needs of a disk: a directory of flat files. The library implements it with the system's files, a
//! test with a disk that loses power.

use std::io;

/// One directory that belongs to the log alone. Nothing here is called in a shard's thread.
pub trait Disk: Send + Sync + 'static {
    /// The names of all files.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file for reading, and for writing where the directory allows it.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is none, or whatever the system says.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Makes a new, empty file. Its name is safe after [`Disk::sync`].
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if there is one, or whatever the system says.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name, replacing what has it. Safe after [`Disk::sync`].
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Whoever has it open goes on reading.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Waits until names made, changed and removed so far would survive a loss of power.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    fn sync(&self) -> io::Result<()>;
}

/// An open file.
#[expect(clippy::len_without_is_empty, reason = "a file's length is asked of the system, and nobody asks for less")]
pub trait DiskFile: Send + Sync + 'static {
    /// Its length in bytes.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    fn len(&self) -> io::Result<u64>;

    /// Reads at most as much as fits. 0 is the end of the file.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of it.
    ///
    /// # Errors
    ///
    /// Whatever the system says; any part may have been written then.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes it at least so long, in zeroes, and reserves the room where the system can.
    ///
    /// # Errors
    ///
    /// `StorageFull` if there is no room, or whatever the system says.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Cuts it to this length.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Waits until its bytes and its length would survive a loss of power. After an error nothing is known of what
    /// was written since the last success, and asking again proves nothing.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    fn sync(&self) -> io::Result<()>;
}

/// Reads until the buffer is full or the file ends. Returns how much it is.
pub(super) fn read_full(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Reads a whole file, as long as it is not longer than `max`.
pub(super) fn read_all(file: &dyn DiskFile, max: u64) -> io::Result<Vec<u8>> {
    let len = file.len()?;
    if len > max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{len} bytes, more than {max}")));
    }
    let mut bytes = vec![0; len as usize];
    let filled = read_full(file, &mut bytes, 0)?;
    bytes.truncate(filled);
    Ok(bytes)
}

/// True if the disk, or what this log may take of it, is full.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}
