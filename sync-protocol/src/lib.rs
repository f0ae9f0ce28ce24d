//! What two nodes say and decide.
#![no_std]
#![forbid(unsafe_code)]
