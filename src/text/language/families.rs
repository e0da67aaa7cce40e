//! Which languages share a script and are told apart by the table. Their order is the order of the table's columns:
//! a change here needs a new table (benches/language_table).

use super::script::Script;

/// Columns of a table are filled up to a multiple of this, so that rows are read in whole blocks.
pub const BLOCK: usize = 8;

pub struct Family {
    pub script: Script,
    /// The table has 2^bits rows.
    pub bits: u32,
    /// English names, sorted.
    pub languages: &'static [&'static str],
}

impl Family {
    /// Columns of the table.
    pub fn width(&self) -> usize {
        self.languages.len().next_multiple_of(BLOCK)
    }
}

pub const FAMILIES: [Family; 4] = [
    Family {
        script: Script::Latin,
        bits: 16,
        languages: &[
            "Afrikaans",
            "Albanian",
            "Azerbaijani",
            "Basque",
            "Catalan",
            "Croatian",
            "Czech",
            "Danish",
            "Dutch",
            "English",
            "Esperanto",
            "Estonian",
            "Finnish",
            "French",
            "German",
            "Hungarian",
            "Icelandic",
            "Indonesian",
            "Irish",
            "Italian",
            "Latin",
            "Latvian",
            "Lithuanian",
            "Malay",
            "Norwegian",
            "Polish",
            "Portuguese",
            "Romanian",
            "Slovak",
            "Slovenian",
            "Somali",
            "Spanish",
            "Swahili",
            "Swedish",
            "Tagalog",
            "Turkish",
            "Vietnamese",
            "Welsh",
            "Yoruba",
            "Zulu",
        ],
    },
    Family {
        script: Script::Cyrillic,
        bits: 14,
        languages: &["Belarusian", "Bulgarian", "Kazakh", "Macedonian", "Mongolian", "Russian", "Serbian", "Ukrainian"],
    },
    Family { script: Script::Arabic, bits: 12, languages: &["Arabic", "Persian", "Urdu"] },
    Family { script: Script::Devanagari, bits: 12, languages: &["Hindi", "Marathi"] },
];
