//! The journal's file. All operations block.

use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// How many processes may share a folder and a name.
const PROCESSES: usize = 64;
/// A file above this is not ours.
const AT_MOST: u64 = 256 * 1024 * 1024;

/// The operations that a journal is made of: few, so that a test can fail each.
pub(crate) trait Disk: Debug + Send + 'static {
    /// What was written before; from then on the file is ours.
    fn open(&mut self) -> io::Result<Vec<u8>>;

    /// From here on the file has nothing worth keeping.
    fn cut(&mut self, whole: u64) -> io::Result<()>;

    /// Puts the file aside as it is, and begins a new one with `rest`. After an error it is where it was.
    fn set_aside(&mut self, rest: &[u8]) -> io::Result<PathBuf>;

    /// Writes behind what is there. After success it is on the disk, if `sync` is set; after an error what was there before
    /// is there still.
    fn append(&mut self, bytes: &[u8], sync: bool) -> io::Result<()>;

    /// Writes everything anew, in one step.
    fn replace(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// How long the file is.
    fn len(&self) -> u64;
}

/// The operating system's files.
#[derive(Debug)]
pub(crate) struct RealDisk {
    dir: PathBuf,
    name: String,
    ours: Option<Ours>,
}

#[derive(Debug)]
struct Ours {
    path: PathBuf,
    file: File,
    len: u64,
    /// Held for as long as it is open: no other process writes the same file.
    _lock: File,
}

impl RealDisk {
    pub(crate) fn new(dir: &Path, name: &str) -> Self {
        let name = utf8_percent_encode(name, NON_ALPHANUMERIC).to_string();
        Self { dir: dir.to_owned(), name, ours: None }
    }

    fn ours(&mut self) -> io::Result<&mut Ours> {
        self.ours.as_mut().ok_or_else(|| io::Error::other("the journal is not open"))
    }

    fn sync_dir(&self) -> io::Result<()> {
        #[cfg(unix)]
        match File::open(&self.dir)?.sync_all() {
            // As the folders of some network file systems are, fsync(2).
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            result => return result,
        }
        Ok(())
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

impl Disk for RealDisk {
    fn open(&mut self) -> io::Result<Vec<u8>> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&self.dir)?;
        // What this process holds keeps itself out, too.
        self.ours = None;
        for nth in 0..PROCESSES {
            let lock = options().open(self.dir.join(format!("{}.{nth}.lock", self.name)))?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => continue,
                Err(fs::TryLockError::Error(error)) => return Err(error),
            }
            let path = self.dir.join(format!("{}.{nth}.journal", self.name));
            let mut file = options().open(&path)?;
            if file.metadata()?.len() > AT_MOST {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("it has more than {AT_MOST} bytes"),
                ));
            }
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            self.sync_dir()?;
            self.ours = Some(Ours { path, file, len: bytes.len() as u64, _lock: lock });
            return Ok(bytes);
        }
        Err(io::Error::new(
            io::ErrorKind::WouldBlock,
            format!("{PROCESSES} processes keep a journal there already"),
        ))
    }

    fn cut(&mut self, whole: u64) -> io::Result<()> {
        let ours = self.ours()?;
        ours.file.set_len(whole)?;
        ours.len = whole;
        ours.file.sync_all()
    }

    fn set_aside(&mut self, rest: &[u8]) -> io::Result<PathBuf> {
        let path = self.ours()?.path.clone();
        let free =
            (0..u16::MAX).map(|nth| path.with_extension(format!("unread-{nth}"))).find(|path| !path.exists());
        let aside = free.ok_or_else(|| io::Error::other("no free name"))?;
        // Not every file system has links.
        fs::hard_link(&path, &aside).or_else(|_| fs::copy(&path, &aside).map(drop))?;
        if let Err(error) = self.replace(rest) {
            let _ = fs::remove_file(&aside);
            return Err(error);
        }
        Ok(aside)
    }

    fn append(&mut self, bytes: &[u8], sync: bool) -> io::Result<()> {
        let ours = self.ours()?;
        // Whatever a former attempt has left behind goes.
        ours.file.set_len(ours.len)?;
        ours.file.seek(SeekFrom::Start(ours.len))?;
        ours.file.write_all(bytes)?;
        if sync {
            ours.file.sync_data()?;
        }
        ours.len += bytes.len() as u64;
        Ok(())
    }

    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        let path = self.ours()?.path.clone();
        let next = path.with_extension("next");
        let mut file = options().open(&next)?;
        file.set_len(0)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&next, &path)?;
        let ours = self.ours()?;
        ours.file = file;
        ours.len = bytes.len() as u64;
        self.sync_dir()
    }

    fn len(&self) -> u64 {
        self.ours.as_ref().map_or(0, |ours| ours.len)
    }
}
