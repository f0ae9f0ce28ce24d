//! The kernel's calls: looked up and answered one after the other, while there is power.

use std::ffi::OsStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenAccMode, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};

use super::files::{Files, SPACE};

/// Nobody changes anything but through the kernel, so that it may remember all it was told.
const TTL: Duration = Duration::from_secs(3_600);
const TYPE: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const SOCKET: u32 = 0o140_000;

/// A disk and its power.
pub(super) struct Machine {
    pub(super) files: Files,
    pub(super) is_on: bool,
    pub(super) is_read_only: bool,
    /// After how many more calls that change or sync something the power goes.
    pub(super) calls_left: Option<u64>,
    /// The most that a write takes at once.
    pub(super) write_max: usize,
}

/// What the kernel talks to.
#[derive(Clone)]
pub(super) struct Calls(pub(super) Arc<Mutex<Machine>>);

pub(super) fn directory_mode() -> u32 {
    DIRECTORY | 0o755
}

impl Calls {
    pub(super) fn machine(&self) -> MutexGuard<'_, Machine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a call that only looks.
    fn look<T>(&self, look: impl FnOnce(&Files) -> Option<T>) -> Result<T, Errno> {
        let machine = self.machine();
        if !machine.is_on {
            return Err(Errno::EIO);
        }
        look(&machine.files).ok_or(Errno::ENOENT)
    }

    /// For a call that changes something in the cache. When the power goes with it, it has
    /// happened, and nobody is told so.
    fn change<T>(&self, act: impl FnOnce(&mut Files) -> Result<T, Errno>) -> Result<T, Errno> {
        let mut machine = self.machine();
        let goes = machine.step()?;
        let done = act(&mut machine.files);
        if goes { Err(Errno::EIO) } else { done }
    }

    /// For a call that syncs. When the power goes with it, it has not happened.
    fn sync(&self, act: impl FnOnce(&mut Files)) -> Result<(), Errno> {
        let mut machine = self.machine();
        if machine.step()? {
            return Err(Errno::EIO);
        }
        act(&mut machine.files);
        Ok(())
    }
}

impl Machine {
    /// Whether the power goes with this call. An error once it has gone.
    fn step(&mut self) -> Result<bool, Errno> {
        if !self.is_on {
            return Err(Errno::EIO);
        }
        if self.is_read_only {
            return Err(Errno::EROFS);
        }
        let goes = self.calls_left == Some(0);
        self.calls_left = self.calls_left.map(|left| left.saturating_sub(1));
        self.is_on = !goes;
        Ok(goes)
    }
}

/// What the kernel is told of a node. Times are all the same, as nobody looks at them.
fn attributes(files: &Files, number: u64) -> Option<FileAttr> {
    let node = files.node(number)?;
    let size = node.content.len() as u64;
    let time = SystemTime::UNIX_EPOCH;
    Some(FileAttr {
        ino: INodeNo(number),
        size,
        blocks: size.div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: kind(node.mode),
        perm: (node.mode & 0o7777) as u16,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    })
}

fn kind(mode: u32) -> FileType {
    match mode & TYPE {
        DIRECTORY => FileType::Directory,
        SOCKET => FileType::Socket,
        _ => FileType::RegularFile,
    }
}

/// A new node under a name that is free.
fn make(files: &mut Files, parent: u64, name: &OsStr, mode: u32) -> Result<FileAttr, Errno> {
    if files.find(parent, name).is_some() {
        return Err(Errno::EEXIST);
    }
    let number = files.make(parent, name, mode, mode & TYPE == DIRECTORY);
    attributes(files, number).ok_or(Errno::ENOENT)
}

fn remove(files: &mut Files, parent: u64, name: &OsStr) -> Result<(), Errno> {
    let number = files.find(parent, name).ok_or(Errno::ENOENT)?;
    if files.names(number).is_some_and(|names| !names.is_empty()) {
        return Err(Errno::ENOTEMPTY);
    }
    files.remove(parent, name);
    Ok(())
}

/// Makes a file at least so long, if there is space.
fn room(files: &Files, number: u64, end: u64) -> Result<(), Errno> {
    let had = files.node(number).ok_or(Errno::ENOENT)?.content.len();
    let more = usize::try_from(end).map_err(|_| Errno::EFBIG)?.saturating_sub(had);
    if files.taken() + more > SPACE { Err(Errno::ENOSPC) } else { Ok(()) }
}

fn answer_entry(made: Result<FileAttr, Errno>, reply: ReplyEntry) {
    match made {
        Ok(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
        Err(error) => reply.error(error),
    }
}

fn answer(done: Result<(), Errno>, reply: ReplyEmpty) {
    match done {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

impl Filesystem for Calls {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.look(|files| files.find(parent.0, name));
        let opened = found.and_then(|number| {
            self.machine().files.open(number);
            self.look(|files| attributes(files, number))
        });
        answer_entry(opened, reply);
    }

    fn forget(&self, _: &Request, number: INodeNo, _: u64) {
        self.machine().files.close(number.0);
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.look(|files| attributes(files, number.0)) {
            Ok(attributes) => reply.attr(&TTL, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let done = self.change(|files| {
            room(files, number.0, size.unwrap_or(0))?;
            let node = files.node_mut(number.0).ok_or(Errno::ENOENT)?;
            node.mode = mode.map_or(node.mode, |mode| node.mode & TYPE | mode & 0o7777);
            if let Some(size) = size {
                node.content.resize(size as usize);
            }
            attributes(files, number.0).ok_or(Errno::ENOENT)
        });
        match done {
            Ok(attributes) => reply.attr(&TTL, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn mknod(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        answer_entry(self.change(|files| make(files, parent.0, name, mode & !umask)), reply);
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let mode = DIRECTORY | mode & !umask;
        answer_entry(self.change(|files| make(files, parent.0, name, mode)), reply);
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let mode = FILE | mode & !umask;
        match self.change(|files| make(files, parent.0, name, mode)) {
            Ok(made) => {
                reply.created(&TTL, &made, Generation(0), FileHandle(0), FopenFlags::empty());
            }
            Err(error) => reply.error(error),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if self.machine().is_read_only && flags.acc_mode() != OpenAccMode::O_RDONLY {
            return reply.error(Errno::EROFS);
        }
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(self.change(|files| remove(files, parent.0, name)), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(self.change(|files| remove(files, parent.0, name)), reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let renamed = self.change(|files| {
            if !flags.is_empty() {
                return Err(Errno::EINVAL);
            }
            let number = files.find(parent.0, name).ok_or(Errno::ENOENT)?;
            files.rename((parent.0, name), (new_parent.0, new_name), number);
            Ok(())
        });
        answer(renamed, reply);
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = self.look(|files| {
            let content = &files.node(number.0)?.content;
            Some(content.read(offset as usize, size as usize).to_vec())
        });
        match read {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let write_max = self.machine().write_max;
        let data = &data[..data.len().min(write_max)];
        let written = self.change(|files| {
            room(files, number.0, offset + data.len() as u64)?;
            let node = files.node_mut(number.0).ok_or(Errno::ENOENT)?;
            node.content.write(offset as usize, data);
            Ok(data.len() as u32)
        });
        match written {
            Ok(count) => reply.written(count),
            Err(error) => reply.error(error),
        }
    }

    fn fallocate(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let reserved = self.change(|files| {
            if mode != 0 {
                return Err(Errno::EOPNOTSUPP);
            }
            room(files, number.0, offset + length)?;
            let content = &mut files.node_mut(number.0).ok_or(Errno::ENOENT)?.content;
            content.resize(content.len().max((offset + length) as usize));
            Ok(())
        });
        answer(reserved, reply);
    }

    fn fsync(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer(self.sync(|files| files.sync_file(number.0)), reply);
    }

    fn fsyncdir(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer(self.sync(|files| files.sync_names(number.0)), reply);
    }

    fn readdir(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = self.look(|files| {
            for (at, (name, number)) in
                files.names(number.0)?.iter().enumerate().skip(offset as usize)
            {
                let kind = kind(files.node(*number)?.mode);
                if reply.add(INodeNo(*number), at as u64 + 1, kind, name) {
                    break;
                }
            }
            Some(())
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        match self.look(|files| Some(SPACE.saturating_sub(files.taken()) as u64 / 4096)) {
            Ok(free) => {
                reply.statfs(SPACE as u64 / 4096, free, free, 1 << 20, 1 << 20, 4096, 255, 4096)
            }
            Err(error) => reply.error(error),
        }
    }
}
