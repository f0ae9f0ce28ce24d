//! What a node stores.
#![no_std]
#![forbid(unsafe_code)]
