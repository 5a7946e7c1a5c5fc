//! The way from SQLite to the file system: the default one, except for two files that it does not open.
//!
//! - **A second write-ahead log.** SQLite makes `-wal` and `-shm` where there are none. If they were removed
//!   while somebody has the log open, or the file has another name under which somebody has it open, the two
//!   would write over each other's pages. So they are made only by the one connection that the file has, which
//!   a lock on the file itself shows.
//! - **A journal to be rolled back.** Logs are in WAL mode, and Annals leaves no rollback journal. One that
//!   lies beside a log is somebody else's, and readers do not apply it; so nobody does.
//!
//! Both are decided under the lock that SQLite holds on the file at that moment: nothing can change between
//! the look and the act.

#![allow(unsafe_code, reason = "SQLite's file systems are tables of C functions")]

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr;
use std::sync::OnceLock;

use rusqlite::{Connection, ffi};

/// The file is open under another name, or its write-ahead log was taken away. It is a kind of busy: whoever
/// makes the files at this very moment is waited for.
pub(super) const OPEN_ELSEWHERE: c_int = ffi::SQLITE_BUSY | (0x41 << 8);

/// A journal is to be rolled back.
pub(super) const HOT_JOURNAL: c_int = ffi::SQLITE_CANTOPEN | (0x41 << 8);

/// Bytes of the header of a write-ahead log, where its salts stand in it, and in the header of the memory
/// beside it (<https://sqlite.org/walformat.html>).
const WAL_HEADER_BYTES: usize = 32;
const WAL_SALTS: std::ops::Range<usize> = 16..24;
const MEMORY_FRAMES: usize = 16;
const MEMORY_SALTS: usize = 32;
const MEMORY_REGION_BYTES: c_int = 32_768;

/// Looks at two files that change while they are looked at.
const LOOKS: u32 = 100;

/// The error of [`OPEN_ELSEWHERE`], where it is found by a connection that is open.
pub(super) fn open_elsewhere() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(OPEN_ELSEWHERE), None)
}

/// The file system that stands behind ours, as a number, because pointers are not shared between threads.
static BEHIND: OnceLock<Option<usize>> = OnceLock::new();

const NAME: &CStr = c"annals";

/// The name under which connections find it, in a URI; it is registered by the first call.
pub(super) fn name() -> &'static str {
    BEHIND.get_or_init(register);
    // Where it could not be registered SQLite says that there is no such file system.
    "annals"
}

fn register() -> Option<usize> {
    // SAFETY: the file system that is found lives as long as the process, and so does the one that is
    // registered. The functions that are copied with it take what they need from `pAppData`, which is copied
    // too; `xOpen` is called with the table that it belongs to.
    unsafe {
        if ffi::sqlite3_initialize() != ffi::SQLITE_OK {
            return None;
        }
        let behind = ffi::sqlite3_vfs_find(ptr::null());
        let mut own = Box::new(*behind.as_ref()?);
        own.zName = NAME.as_ptr();
        own.pNext = ptr::null_mut();
        own.xOpen = Some(open);
        let registered = ffi::sqlite3_vfs_register(Box::into_raw(own), 0);
        (registered == ffi::SQLITE_OK).then_some(behind as usize)
    }
}

/// A call to the file system behind.
struct Call {
    behind: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    file: *mut ffi::sqlite3_file,
    out_flags: *mut c_int,
}

impl Call {
    /// SAFETY: the pointers are those that SQLite gave to `open`.
    unsafe fn open(&self, flags: c_int) -> c_int {
        // SAFETY: as above, and the table lives as long as the process.
        match unsafe { (*self.behind).xOpen } {
            Some(open) => unsafe { open(self.behind, self.path, self.file, flags, self.out_flags) },
            None => unsafe { self.refuse(ffi::SQLITE_CANTOPEN) },
        }
    }

    /// SAFETY: as for `open`.
    unsafe fn refuse(&self, code: c_int) -> c_int {
        // SQLite does not close a file without methods.
        unsafe { (*self.file).pMethods = ptr::null() };
        code
    }

    /// Opens a write-ahead log that is there with its memory. Where one of them lacks, they are made under a
    /// lock that nobody else has on the log.
    ///
    /// SAFETY: as for `open`, and the path is that of a write-ahead log.
    unsafe fn open_wal(&self, flags: c_int) -> c_int {
        // SAFETY: SQLite gives a C string.
        let wal = unsafe { CStr::from_ptr(self.path) }.to_bytes();
        let is_there = |path: &[u8]| Path::new(OsStr::from_bytes(path)).symlink_metadata().is_ok();
        let memory = [wal.strip_suffix(b"-wal").unwrap_or(wal), b"-shm"].concat();
        if is_there(wal) && is_there(&memory) {
            // Not made, should it be gone by now: then it is as if it had lacked.
            let opened = unsafe { self.open(flags & !ffi::SQLITE_OPEN_CREATE) };
            if opened == ffi::SQLITE_OK || is_there(wal) {
                return opened;
            }
        }
        // SAFETY: SQLite knows the database of the name that it gave, and holds a shared lock on it now.
        let database = unsafe { ffi::sqlite3_database_file_object(self.path) };
        let methods = unsafe { database.as_ref().and_then(|file| file.pMethods.as_ref()) };
        let Some((lock, unlock)) = methods.and_then(|methods| Some((methods.xLock?, methods.xUnlock?)))
        else {
            return unsafe { self.refuse(ffi::SQLITE_CANTOPEN) };
        };
        match unsafe { lock(database, ffi::SQLITE_LOCK_EXCLUSIVE) } {
            ffi::SQLITE_OK => {
                let opened = unsafe { self.open(flags) };
                unsafe { unlock(database, ffi::SQLITE_LOCK_SHARED) };
                opened
            }
            code if code & 0xff == ffi::SQLITE_BUSY => unsafe { self.refuse(OPEN_ELSEWHERE) },
            // A file that is open for reading alone cannot be locked like this; its reader has seen to it.
            _ if unsafe { is_reader(self.path) } => unsafe { self.open(flags) },
            code => unsafe { self.refuse(code) },
        }
    }
}

/// The parameter of a URI by which a connection says that it only reads.
pub(super) const READER: &str = "annals_reader";

/// SAFETY: the path is one that SQLite gave to `open`.
unsafe fn is_reader(path: *const c_char) -> bool {
    unsafe { ffi::sqlite3_uri_boolean(path, c"annals_reader".as_ptr(), 0) != 0 }
}

unsafe extern "C" fn open(
    _own: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let Some(behind) = BEHIND.get().copied().flatten() else { return ffi::SQLITE_CANTOPEN };
    let call = Call { behind: behind as *mut ffi::sqlite3_vfs, path, file, out_flags };
    let is = |flag| flags & flag != 0;
    // A journal that is opened for writing, and not made, is rolled back.
    let rolls_back =
        is(ffi::SQLITE_OPEN_MAIN_JOURNAL) && is(ffi::SQLITE_OPEN_READWRITE) && !is(ffi::SQLITE_OPEN_CREATE);
    // SAFETY: the pointers are SQLite's, for this call.
    unsafe {
        if rolls_back {
            call.refuse(HOT_JOURNAL)
        } else if is(ffi::SQLITE_OPEN_WAL) {
            call.open_wal(flags)
        } else {
            call.open(flags)
        }
    }
}

/// Asks SQLite for the file behind a connection.
fn file_of(connection: &Connection, which: c_int) -> Option<*mut ffi::sqlite3_file> {
    let mut file: *mut ffi::sqlite3_file = ptr::null_mut();
    let out: *mut *mut ffi::sqlite3_file = &raw mut file;
    // SAFETY: the handle is that of an open connection, and SQLite writes one pointer.
    let code = unsafe {
        ffi::sqlite3_file_control(connection.handle(), c"main".as_ptr(), which, out.cast::<c_void>())
    };
    // A file that is not open has no methods.
    let is_open = code == ffi::SQLITE_OK && !file.is_null() && unsafe { !(*file).pMethods.is_null() };
    is_open.then_some(file)
}

/// Whether the write-ahead log that a connection has open is the one of which its shared memory speaks. It is
/// another where somebody removed the one in use and SQLite, or anybody, put a new one there.
pub(super) fn wal_is_that_of_memory(connection: &Connection) -> bool {
    let (Some(wal), Some(database)) = (
        file_of(connection, ffi::SQLITE_FCNTL_JOURNAL_POINTER),
        file_of(connection, ffi::SQLITE_FCNTL_FILE_POINTER),
    ) else {
        return true;
    };
    for _ in 0..LOOKS {
        let before = memory_header(database);
        let salts = wal_salts(wal);
        match before {
            // Not in WAL mode, or nothing is in it.
            None => return true,
            Some((0, _)) => return true,
            Some((_, named)) if salts == Some(named) => return true,
            // It may have begun anew in between: then the memory says so.
            Some(_) if before == memory_header(database) => return false,
            Some(_) => {}
        }
    }
    true
}

/// How many frames the shared memory knows, and the salts of their log.
fn memory_header(database: *mut ffi::sqlite3_file) -> Option<(u32, [u8; 8])> {
    let mut region: *mut c_void = ptr::null_mut();
    let region_out: *mut *mut c_void = &raw mut region;
    // SAFETY: the file is open, and its first region is mapped as long as its connection is in WAL mode.
    unsafe {
        let map = (*database).pMethods.as_ref().filter(|methods| methods.iVersion >= 2)?.xShmMap?;
        let code = map(database, 0, MEMORY_REGION_BYTES, 0, region_out.cast());
        if code != ffi::SQLITE_OK || region.is_null() {
            return None;
        }
        let byte = |place: usize| region.cast::<u8>().add(place).read_volatile();
        let frames = [0, 1, 2, 3].map(|place| byte(MEMORY_FRAMES + place));
        let salts = [0, 1, 2, 3, 4, 5, 6, 7].map(|place| byte(MEMORY_SALTS + place));
        // Whether there are any is all that is asked, so that the order of the bytes does not matter.
        Some((u32::from_le_bytes(frames), salts))
    }
}

fn wal_salts(wal: *mut ffi::sqlite3_file) -> Option<[u8; 8]> {
    let mut header = [0; WAL_HEADER_BYTES];
    // SAFETY: the file is open, and the buffer has the size that is given.
    let code = unsafe {
        let read = (*wal).pMethods.as_ref()?.xRead?;
        read(wal, header.as_mut_ptr().cast(), c_int::try_from(WAL_HEADER_BYTES).ok()?, 0)
    };
    (code == ffi::SQLITE_OK).then(|| header.get(WAL_SALTS)?.try_into().ok())?
}

/// Whether the file that a connection has open is no longer at its path.
pub(super) fn has_moved(connection: &Connection) -> bool {
    let mut moved: c_int = 0;
    let out: *mut c_int = &raw mut moved;
    // SAFETY: the handle is that of an open connection, and SQLite writes one number.
    let code = unsafe {
        ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_HAS_MOVED,
            out.cast::<c_void>(),
        )
    };
    code == ffi::SQLITE_OK && moved != 0
}
