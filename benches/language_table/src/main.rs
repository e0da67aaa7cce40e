//! Makes `src/text/language/table.bin` from the language models of lingua (Apache-2.0, Peter M. Stahl). How to run it
//! stands in docs/decisions/0013-language-id.md:
//!
//!     cargo run --release -- FOLDER_OF_EXTRACTED_CRATES ../../src/text/language/table.bin

mod corpus;
mod model;
mod random;
mod text;
mod train;

use std::path::Path;

use rayon::prelude::*;

use crate::corpus::Corpus;
use crate::text::language::families::FAMILIES;
use crate::text::language::script::Script;

/// Texts per language.
const N_TEXTS: usize = 90_000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, crates, output] = arguments.as_slice() else { panic!("usage: language_table CRATES OUTPUT") };
    let n_texts = std::env::var("N_TEXTS").map_or(N_TEXTS, |n| n.parse().expect("a number"));
    let tables: Vec<(Vec<u8>, Vec<u8>)> = FAMILIES
        .par_iter()
        .map(|family| {
            let read = |language: &&str| Corpus::read(Path::new(crates), language);
            let corpora: Vec<Corpus> = family.languages.par_iter().map(read).collect();
            let runs = if family.script == Script::Latin { train::runs(family, &corpora) } else { Vec::new() };
            (train::train(family, &corpora, n_texts * corpora.len()).to_bytes(), runs)
        })
        .collect();
    let (mut bytes, runs): (Vec<_>, Vec<_>) = tables.into_iter().unzip();
    bytes.extend(runs);
    std::fs::write(output, bytes.concat()).expect("writing the table");
}
