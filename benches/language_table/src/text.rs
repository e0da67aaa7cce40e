//! The files of the core that the tool shares, under the names they have there.

#[path = "../../../src/text/characters.rs"]
#[allow(dead_code)]
pub mod characters;
#[path = "language.rs"]
pub mod language;
