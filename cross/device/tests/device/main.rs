//! A device on simulated flash, which loses power wherever it hurts.

mod clocks;
mod cuts;
mod flash;
mod life;
mod qemu;
mod rig;
mod site;
mod sync;
mod wire;
