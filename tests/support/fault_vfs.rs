//! A shim between SQLite and the file system that fails when it is told to. It stands before the
//! default VFS of the process, so that the library under test knows nothing of it.

#![allow(unsafe_code, reason = "SQLite knows file systems as tables of C functions")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::{Mutex, Once, PoisonError};

use rusqlite::ffi;

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Open,
    Delete,
    Read,
    Write,
    /// A write to the file itself: that of a checkpoint.
    WriteDatabase,
    Sync,
    Truncate,
    FileSize,
    Lock,
    ShmMap,
    ShmLock,
}

/// What was done all the same when the error is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    Nothing,
    /// Of a write; of anything else nothing.
    Half,
    All,
}

/// Which calls fail, and how.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub operation: Operation,
    /// The first call that fails, counted from 1.
    pub nth: u64,
    /// Calls that fail from then on.
    pub times: u64,
    pub done: Done,
    pub code: c_int,
    /// Only calls of the thread with this name count, where there is one.
    pub thread: Option<&'static str>,
}

struct Plan {
    log: PathBuf,
    fault: Fault,
    calls: u64,
}

static PLANS: Mutex<Vec<Plan>> = Mutex::new(Vec::new());

fn plans() -> std::sync::MutexGuard<'static, Vec<Plan>> {
    PLANS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A fault in force; dropping it heals the file system.
pub struct Injected {
    log: PathBuf,
}

/// Lets calls on a log, and on the files beside it, fail. One fault a log. Connections that were
/// opened before [`install`] are not concerned.
pub fn inject(log: &Path, fault: Fault) -> Injected {
    plans().push(Plan { log: log.to_owned(), fault, calls: 0 });
    Injected { log: log.to_owned() }
}

impl Injected {
    /// Whether a call has failed.
    pub fn fired(&self) -> bool {
        plans().iter().any(|plan| plan.log == self.log && plan.calls >= plan.fault.nth)
    }
}

impl Drop for Injected {
    fn drop(&mut self) {
        plans().retain(|plan| plan.log != self.log);
    }
}

fn fault(file: &str, operation: Operation) -> Option<Fault> {
    let mut plans = plans();
    let plan = plans.iter_mut().find(|plan| {
        let is_planned = match plan.fault.operation {
            Operation::WriteDatabase => operation == Operation::Write && plan.log.to_str() == Some(file),
            planned => planned == operation,
        };
        is_planned && plan.log.to_str().is_some_and(|log| file.starts_with(log))
    })?;
    if plan.fault.thread.is_some_and(|name| std::thread::current().name() != Some(name)) {
        return None;
    }
    plan.calls += 1;
    let last = plan.fault.nth.saturating_add(plan.fault.times - 1);
    (plan.fault.nth..=last).contains(&plan.calls).then_some(plan.fault)
}

/// A change to a file, as it was asked for and made.
#[derive(Clone, Debug)]
pub enum Change {
    Write {
        file: String,
        offset: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        file: String,
        size: usize,
    },
    Delete {
        file: String,
    },
    /// What was changed before is on the disk.
    Sync {
        file: String,
    },
    /// Nothing of a file: what the test has to say of this moment.
    Said(String),
}

struct Journal {
    log: PathBuf,
    changes: Vec<Change>,
}

static JOURNALS: Mutex<Vec<Journal>> = Mutex::new(Vec::new());

fn journals() -> std::sync::MutexGuard<'static, Vec<Journal>> {
    JOURNALS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The changes to a log and to the files beside it, in order, from now on. Those to shared memory are none.
pub struct Recorded {
    log: PathBuf,
}

/// Begins to record.
pub fn record(log: &Path) -> Recorded {
    journals().push(Journal { log: log.to_owned(), changes: Vec::new() });
    Recorded { log: log.to_owned() }
}

impl Recorded {
    /// Says something in the journal.
    pub fn say(&self, text: impl Into<String>) {
        note(self.log.to_str().unwrap(), || Change::Said(text.into()));
    }

    /// The journal so far, and its end.
    pub fn end(self) -> Vec<Change> {
        let mut journals = journals();
        let place = journals.iter().position(|journal| journal.log == self.log).unwrap();
        journals.swap_remove(place).changes
    }
}

fn note(file: &str, change: impl FnOnce() -> Change) {
    let mut journals = journals();
    let is_of = |journal: &&mut Journal| journal.log.to_str().is_some_and(|log| file.starts_with(log));
    if let Some(journal) = journals.iter_mut().find(is_of) {
        journal.changes.push(change());
    }
}

/// Does `call`, and notes the change that it made.
fn noted(file: &str, call: impl FnOnce() -> c_int, change: impl FnOnce() -> Change) -> c_int {
    let result = call();
    if result == ffi::SQLITE_OK {
        note(file, change);
    }
    result
}

/// Fails as planned, or does `call`.
fn guarded(file: &str, operation: Operation, call: impl FnOnce() -> c_int) -> c_int {
    match fault(file, operation) {
        None => call(),
        Some(fault) => {
            if fault.done == Done::All {
                call();
            }
            fault.code
        }
    }
}

/// An open file; SQLite has room for the real one behind it.
#[repr(C)]
struct File {
    methods: *const ffi::sqlite3_io_methods,
    /// Null for a file without a name.
    name: *mut String,
}

/// SAFETY: `file` was filled by `open` below, in memory of the size that the VFS asks for.
unsafe fn real(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    unsafe { file.cast::<u8>().add(size_of::<File>()).cast() }
}

/// SAFETY: as for `real`.
unsafe fn name<'a>(file: *mut ffi::sqlite3_file) -> &'a str {
    unsafe { (*file.cast::<File>()).name.as_ref() }.map_or("", String::as_str)
}

/// Calls a method of the real file.
macro_rules! real {
    ($file:ident . $method:ident ( $($argument:expr),* )) => {
        // SAFETY: the real file was opened, and its VFS has this method.
        unsafe {
            let real = real($file);
            ((*(*real).pMethods).$method.unwrap())(real $(, $argument)*)
        }
    };
}

/// A method that can fail.
macro_rules! guarded {
    ($name:ident, $operation:ident, $method:ident ( $($argument:ident : $type:ty),* )) => {
        unsafe extern "C" fn $name(file: *mut ffi::sqlite3_file $(, $argument: $type)*) -> c_int {
            guarded(unsafe { name(file) }, Operation::$operation, || real!(file.$method($($argument),*)))
        }
    };
}

/// A method that is passed on.
macro_rules! passed {
    ($name:ident, $method:ident ( $($argument:ident : $type:ty),* ) $(-> $result:ty)?) => {
        unsafe extern "C" fn $name(file: *mut ffi::sqlite3_file $(, $argument: $type)*) $(-> $result)? {
            real!(file.$method($($argument),*))
        }
    };
}

guarded!(read, Read, xRead(buffer: *mut c_void, bytes: c_int, offset: i64));
guarded!(file_size, FileSize, xFileSize(size: *mut i64));
guarded!(lock, Lock, xLock(level: c_int));
guarded!(shm_map, ShmMap, xShmMap(page: c_int, bytes: c_int, extend: c_int, out: *mut *mut c_void));
passed!(unlock, xUnlock(level: c_int) -> c_int);
passed!(check_reserved, xCheckReservedLock(out: *mut c_int) -> c_int);
passed!(file_control, xFileControl(operation: c_int, argument: *mut c_void) -> c_int);
passed!(sector_size, xSectorSize() -> c_int);
passed!(characteristics, xDeviceCharacteristics() -> c_int);
passed!(shm_barrier, xShmBarrier());
passed!(shm_unmap, xShmUnmap(delete: c_int) -> c_int);
passed!(fetch, xFetch(offset: i64, bytes: c_int, out: *mut *mut c_void) -> c_int);
passed!(unfetch, xUnfetch(offset: i64, page: *mut c_void) -> c_int);

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    let file_name = unsafe { name(file) };
    let call = || real!(file.xTruncate(size));
    let change = || Change::Truncate { file: file_name.into(), size: usize::try_from(size).unwrap() };
    guarded(file_name, Operation::Truncate, || noted(file_name, call, change))
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    let file_name = unsafe { name(file) };
    let call = || real!(file.xSync(flags));
    guarded(file_name, Operation::Sync, || noted(file_name, call, || Change::Sync { file: file_name.into() }))
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    buffer: *const c_void,
    bytes: c_int,
    offset: i64,
) -> c_int {
    match fault(unsafe { name(file) }, Operation::Write) {
        None => {
            let file_name = unsafe { name(file) };
            // SAFETY: SQLite hands out a buffer of that many bytes.
            let content = || unsafe {
                std::slice::from_raw_parts(buffer.cast::<u8>(), usize::try_from(bytes).unwrap())
            };
            noted(
                file_name,
                || real!(file.xWrite(buffer, bytes, offset)),
                || Change::Write {
                    file: file_name.into(),
                    offset: usize::try_from(offset).unwrap(),
                    bytes: content().to_vec(),
                },
            )
        }
        Some(fault) => {
            match fault.done {
                Done::Nothing => {}
                Done::Half => drop(real!(file.xWrite(buffer, bytes / 2, offset))),
                Done::All => drop(real!(file.xWrite(buffer, bytes, offset))),
            }
            fault.code
        }
    }
}

unsafe extern "C" fn shm_lock(
    file: *mut ffi::sqlite3_file,
    offset: c_int,
    locks: c_int,
    flags: c_int,
) -> c_int {
    // SQLite does not look at what unlocking returns, and nothing unlocked may stay locked.
    if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
        return real!(file.xShmLock(offset, locks, flags));
    }
    match fault(unsafe { name(file) }, Operation::ShmLock) {
        None => real!(file.xShmLock(offset, locks, flags)),
        Some(fault) => fault.code,
    }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let result = real!(file.xClose());
    let name = unsafe { (*file.cast::<File>()).name };
    if !name.is_null() {
        // SAFETY: it was made by Box::into_raw in `open`.
        drop(unsafe { Box::from_raw(name) });
    }
    result
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 3,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: Some(fetch),
    xUnfetch: Some(unfetch),
};

/// The VFS that stood there before: it is what `pAppData` of ours would be, were that not its own.
static REAL: Mutex<usize> = Mutex::new(0);

fn real_vfs() -> *mut ffi::sqlite3_vfs {
    *REAL.lock().unwrap() as *mut ffi::sqlite3_vfs
}

/// SAFETY: `path` is null or a C string.
unsafe fn text(path: *const c_char) -> String {
    if path.is_null() {
        return String::new();
    }
    unsafe { CStr::from_ptr(path) }.to_string_lossy().into_owned()
}

unsafe extern "C" fn open(
    _vfs: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let path_text = unsafe { text(path) };
    // A file that is not open has no methods, and is not closed.
    unsafe { (*file.cast::<File>()).methods = ptr::null() };
    if let Some(fault) = fault(&path_text, Operation::Open) {
        return fault.code;
    }
    let vfs = real_vfs();
    let result = unsafe { ((*vfs).xOpen.unwrap())(vfs, path, real(file), flags, out_flags) };
    if !unsafe { (*real(file)).pMethods }.is_null() {
        let shim = file.cast::<File>();
        unsafe {
            (*shim).methods = &raw const METHODS;
            (*shim).name = Box::into_raw(Box::new(path_text));
        }
    }
    result
}

unsafe extern "C" fn delete(_vfs: *mut ffi::sqlite3_vfs, path: *const c_char, sync: c_int) -> c_int {
    let vfs = real_vfs();
    let file = unsafe { text(path) };
    guarded(&file, Operation::Delete, || {
        let call = || unsafe { ((*vfs).xDelete.unwrap())(vfs, path, sync) };
        noted(&file, call, || Change::Delete { file: file.clone() })
    })
}

/// Makes the shim the default VFS, once in the process.
pub fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: what is registered lives as long as the process. Methods that are not the shim's
        // own find in it all the fields of the real one.
        unsafe {
            ffi::sqlite3_initialize();
            let real = ffi::sqlite3_vfs_find(ptr::null());
            *REAL.lock().unwrap() = real as usize;
            let mut shim = Box::new(*real);
            shim.zName = c"faults".as_ptr();
            shim.szOsFile += c_int::try_from(size_of::<File>()).unwrap();
            shim.pNext = ptr::null_mut();
            shim.xOpen = Some(open);
            shim.xDelete = Some(delete);
            assert_eq!(ffi::sqlite3_vfs_register(Box::into_raw(shim), 1), ffi::SQLITE_OK);
        }
    });
}
