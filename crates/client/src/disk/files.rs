//! The file operations that the store is made of: few, so that a test can fail each of them and stop between any two.

use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The operations. All of them block.
pub(crate) trait Files: Debug + Send + Sync + 'static {
    /// Creates a folder and its parents for this user alone. One that is there stays as it is.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// The files of a folder whose name is `wanted`, and when each was last written.
    fn list(&self, dir: &Path, wanted: &dyn Fn(&str) -> bool) -> io::Result<Vec<(PathBuf, SystemTime)>>;

    /// Writes `parts` one behind the other into a file that must not be there yet, for this user alone. After
    /// success the contents are on the disk.
    fn write_new(&self, path: &Path, parts: &[&[u8]]) -> io::Result<()>;

    /// The contents of a file. `InvalidData`: it has more than `limit` bytes, or is not a file.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>>;

    /// Gives a file another name in one step, over what has that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// After success the names in a folder are on the disk.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The operating system's files.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RealFiles;

impl Files for RealFiles {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(dir)
    }

    fn list(&self, dir: &Path, wanted: &dyn Fn(&str) -> bool) -> io::Result<Vec<(PathBuf, SystemTime)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(wanted) {
                found.push((entry.path(), entry.metadata()?.modified()?));
            }
        }
        Ok(found)
    }

    fn write_new(&self, path: &Path, parts: &[&[u8]]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_all()
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let refuse = |rule: String| Err(io::Error::new(io::ErrorKind::InvalidData, rule));
        // Asked before opening: opening a pipe would wait for its writer.
        let about = fs::metadata(path)?;
        if !about.is_file() {
            return refuse("it is not a file".to_owned());
        }
        let mut bytes = Vec::new();
        if about.len() <= limit {
            bytes.try_reserve_exact(usize::try_from(about.len()).unwrap_or(0))?;
            File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
        }
        if about.len().max(bytes.len() as u64) > limit {
            return refuse(format!("it has more than {limit} bytes"));
        }
        Ok(bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    #[cfg(unix)]
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        match File::open(dir)?.sync_all() {
            // fsync(2): "fd is bound to a special file which does not support synchronization", as the folders of
            // some network file systems are.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            result => result,
        }
    }

    /// A folder cannot be opened here, nor synchronized.
    #[cfg(not(unix))]
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_there_is_never_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        RealFiles.write_new(&path, &[b"a", b"bc"]).unwrap();
        let error = RealFiles.write_new(&path, &[b"d"]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(RealFiles.read(&path, 3).unwrap(), b"abc");
    }

    #[test]
    fn a_file_above_the_limit_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        // A terabyte without a block on the disk: reading it would not end well.
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let error = RealFiles.read(&path, 1 << 20).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let error = RealFiles.read(dir.path(), 1 << 20).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_read_what_is_written() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        RealFiles.create_dir_all(&inner).unwrap();
        RealFiles.create_dir_all(&inner).unwrap();
        RealFiles.write_new(&inner.join("x"), &[b"secret"]).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            (mode(&inner), mode(inner.parent().unwrap()), mode(&inner.join("x"))),
            (0o700, 0o700, 0o600)
        );
        RealFiles.sync_dir(&inner).unwrap();
    }
}
