//! Worlds, media and helpers for the whole-system tests.
