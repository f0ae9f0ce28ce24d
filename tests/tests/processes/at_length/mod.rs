//! What takes minutes: tests begin in the order of their names, and none of these should be the one
//! that all wait for in the end.

mod stops;
mod syscalls;
#[cfg(target_os = "linux")]
mod volatile;
