//! The file system under SQLite: the default one, except for two files that it does not open.
//!
//! - **A second write-ahead log.** SQLite makes `-wal` and `-shm` if they are missing. Perhaps they were removed
//!   while somebody has the log open, or somebody has the file open under another name. Then the two users would
//!   overwrite each other's pages. So these files are made only by a connection that is the only one to the file. A
//!   lock on the file itself shows that.
//! - **A journal to be rolled back.** Logs are in WAL mode, and Annals leaves no rollback journal. A journal beside a
//!   log is somebody else's. Readers do not apply it, so nobody does.
//!
//! Both decisions are made under the lock that SQLite holds on the file at that moment: nothing can change between
//! the look and the act.

#![allow(unsafe_code, reason = "SQLite's file systems are tables of C functions")]

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr;
use std::sync::OnceLock;

use rusqlite::{Connection, ffi};

/// The error for a file that is open under another name, or whose write-ahead log was removed. It is a kind of busy:
/// a process that makes the files at this very moment is waited for.
pub(super) const OPEN_ELSEWHERE: c_int = ffi::SQLITE_BUSY | (0x41 << 8);

/// The error for a journal that would be rolled back.
pub(super) const HOT_JOURNAL: c_int = ffi::SQLITE_CANTOPEN | (0x41 << 8);

/// Bytes of the header of a write-ahead log, and the offset of its salts there; then, in the shared memory, the
/// offsets of the number of frames and of the salts, and the bytes of a region (<https://sqlite.org/walformat.html>).
const WAL_HEADER_BYTES: usize = 32;
const WAL_SALTS: std::ops::Range<usize> = 16..24;
const MEMORY_FRAMES: usize = 16;
const MEMORY_SALTS: usize = 32;
const MEMORY_REGION_BYTES: c_int = 32_768;

/// Attempts to look at two files that others change meanwhile.
const LOOKS: u32 = 100;

/// The error [`OPEN_ELSEWHERE`], for a connection that is open already.
pub(super) fn open_elsewhere() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(OPEN_ELSEWHERE), None)
}

/// SQLite's default file system, which ours calls. The address is a number, because pointers are not shared between
/// threads.
static BEHIND: OnceLock<Option<usize>> = OnceLock::new();

const NAME: &CStr = c"annals";

/// The name of our file system in a URI. The first call registers it.
pub(super) fn name() -> &'static str {
    BEHIND.get_or_init(register);
    // If it could not be registered, SQLite reports at the opening that there is no such file system.
    "annals"
}

fn register() -> Option<usize> {
    // SAFETY: the default file system lives as long as the process, and so does the registered one, which is leaked.
    // The functions that are copied with it take what they need from `pAppData`, which is copied too; `xOpen` is
    // called with the table that it belongs to.
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

/// One call of `xOpen` on the default file system.
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

    /// Opens a write-ahead log that is there with its shared memory. If one of them is missing, they are made under a
    /// lock on the log that only its sole user can get.
    ///
    /// SAFETY: as for `open`, and the path is that of a write-ahead log.
    unsafe fn open_wal(&self, flags: c_int) -> c_int {
        // SAFETY: SQLite gives a C string.
        let wal = unsafe { CStr::from_ptr(self.path) }.to_bytes();
        let is_there = |path: &[u8]| Path::new(OsStr::from_bytes(path)).symlink_metadata().is_ok();
        let memory = [wal.strip_suffix(b"-wal").unwrap_or(wal), b"-shm"].concat();
        if is_there(wal) && is_there(&memory) {
            // Without `CREATE`: if the file was removed since the look, it counts as missing.
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
        // Every connection in WAL mode holds a shared lock on the database for as long as it is open. So an exclusive
        // lock is granted only if nobody else has the database open.
        match unsafe { lock(database, ffi::SQLITE_LOCK_EXCLUSIVE) } {
            ffi::SQLITE_OK => {
                let opened = unsafe { self.open(flags) };
                // The lock becomes shared again. No other connection can get an exclusive one, and make these files,
                // until this connection is closed.
                unsafe { unlock(database, ffi::SQLITE_LOCK_SHARED) };
                opened
            }
            code if code & 0xff == ffi::SQLITE_BUSY => unsafe { self.refuse(OPEN_ELSEWHERE) },
            // A file that is open for reading alone cannot be locked like this. Its reader has made the files through
            // another connection, which locked it (`make_files_beside`).
            _ if unsafe { is_reader(self.path) } => unsafe { self.open(flags) },
            code => unsafe { self.refuse(code) },
        }
    }
}

/// The parameter of a URI that marks a connection which only reads.
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
    // SQLite opens a journal for writing, without making it, only to roll it back.
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

/// Returns whether the write-ahead log that a connection has open is the one that its shared memory describes. It is
/// another one if somebody removed the one in use, and SQLite or anybody put a new one there.
pub(super) fn wal_is_that_of_memory(connection: &Connection) -> bool {
    let (Some(wal), Some(database)) = (
        file_of(connection, ffi::SQLITE_FCNTL_JOURNAL_POINTER),
        file_of(connection, ffi::SQLITE_FCNTL_FILE_POINTER),
    ) else {
        return true;
    };
    for _ in 0..LOOKS {
        // The memory is read before and after the salts of the file. A difference counts only if the memory did not
        // change in between.
        let before = memory_header(database);
        let salts = wal_salts(wal);
        match before {
            // The connection is not in WAL mode, or the write-ahead log is empty: there is nothing to compare.
            None => return true,
            Some((0, _)) => return true,
            Some((_, named)) if salts == Some(named) => return true,
            // The write-ahead log may have begun a new run in between. Then the memory has changed too.
            Some(_) if before == memory_header(database) => return false,
            Some(_) => {}
        }
    }
    // It changed at every look. Somebody is writing it just now, so it is not refused.
    true
}

/// The number of frames that the shared memory knows, and the salts of their write-ahead log.
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
        // Others write this memory at the same time. A read that mixes old and new bytes is the reason for the second
        // look of the caller.
        let byte = |place: usize| region.cast::<u8>().add(place).read_volatile();
        let frames = [0, 1, 2, 3].map(|place| byte(MEMORY_FRAMES + place));
        let salts = [0, 1, 2, 3, 4, 5, 6, 7].map(|place| byte(MEMORY_SALTS + place));
        // The caller asks only whether there are any frames, so the order of the bytes does not matter.
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

/// Returns whether the file that a connection has open is no longer at its path.
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
