//! Which writing system a letter belongs to, and which languages share one.

/// A writing system, or several that always mean one language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Script {
    Latin,
    Cyrillic,
    Arabic,
    Devanagari,
    /// Decides for Chinese, unless kana stand beside it.
    Han,
    Kana,
    Hangul,
    Greek,
    Hebrew,
    Thai,
    Armenian,
    Georgian,
    Bengali,
    Gurmukhi,
    Gujarati,
    Oriya,
    Tamil,
    Telugu,
    Kannada,
    Malayalam,
    Sinhala,
    Lao,
    Tibetan,
    Burmese,
    Ethiopic,
    Khmer,
    /// Not a letter, or of a script that is not listed.
    None,
}

/// Number of scripts, `None` included.
pub const N_SCRIPTS: usize = Script::None as usize + 1;

/// The script of a letter; marks of a script count as it too.
#[inline]
pub fn script(c: char) -> Script {
    if c.is_ascii() {
        return if c.is_ascii_alphabetic() { Script::Latin } else { Script::None };
    }
    match c {
        '\u{aa}' | '\u{b5}' | '\u{ba}' | '\u{c0}'..='\u{24f}' | '\u{250}'..='\u{2af}' | '\u{1e00}'..='\u{1eff}' => {
            if matches!(c, '×' | '÷' | 'µ') { Script::None } else { Script::Latin }
        }
        // accents of decomposed letters
        '\u{300}'..='\u{36f}' => Script::None,
        '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}' => Script::Greek,
        '\u{400}'..='\u{52f}' | '\u{1c80}'..='\u{1c8f}' | '\u{2de0}'..='\u{2dff}' => Script::Cyrillic,
        '\u{531}'..='\u{58f}' => Script::Armenian,
        '\u{591}'..='\u{5ff}' | '\u{fb1d}'..='\u{fb4f}' => Script::Hebrew,
        '\u{660}'..='\u{66d}' | '\u{6f0}'..='\u{6f9}' | '\u{6d4}' => Script::None,
        '\u{620}'..='\u{6ff}'
        | '\u{750}'..='\u{77f}'
        | '\u{8a0}'..='\u{8ff}'
        | '\u{fb50}'..='\u{fdff}'
        | '\u{fe70}'..='\u{fefe}' => Script::Arabic,
        '\u{964}'..='\u{96f}' => Script::None,
        '\u{900}'..='\u{97f}' => Script::Devanagari,
        '\u{980}'..='\u{9ff}' => Script::Bengali,
        '\u{a00}'..='\u{a7f}' => Script::Gurmukhi,
        '\u{a80}'..='\u{aff}' => Script::Gujarati,
        '\u{b00}'..='\u{b7f}' => Script::Oriya,
        '\u{b80}'..='\u{bff}' => Script::Tamil,
        '\u{c00}'..='\u{c7f}' => Script::Telugu,
        '\u{c80}'..='\u{cff}' => Script::Kannada,
        '\u{d00}'..='\u{d7f}' => Script::Malayalam,
        '\u{d80}'..='\u{dff}' => Script::Sinhala,
        '\u{e01}'..='\u{e7f}' => Script::Thai,
        '\u{e80}'..='\u{eff}' => Script::Lao,
        '\u{f00}'..='\u{fff}' => Script::Tibetan,
        '\u{1000}'..='\u{109f}' => Script::Burmese,
        '\u{10a0}'..='\u{10ff}' | '\u{1c90}'..='\u{1cbf}' => Script::Georgian,
        '\u{1100}'..='\u{11ff}' | '\u{3131}'..='\u{318e}' | '\u{ac00}'..='\u{d7a3}' => Script::Hangul,
        '\u{1200}'..='\u{139f}' => Script::Ethiopic,
        '\u{1780}'..='\u{17ff}' => Script::Khmer,
        '\u{3041}'..='\u{30fa}' | '\u{30fc}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{ff66}'..='\u{ff9d}' => {
            Script::Kana
        }
        '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3134f}' => {
            Script::Han
        }
        _ => Script::None,
    }
}

/// The language of a script that only one language of ours uses.
pub fn only_language(script: Script) -> Option<&'static str> {
    Some(match script {
        Script::Han => "Chinese",
        Script::Kana => "Japanese",
        Script::Hangul => "Korean",
        Script::Greek => "Greek",
        Script::Hebrew => "Hebrew",
        Script::Thai => "Thai",
        Script::Armenian => "Armenian",
        Script::Georgian => "Georgian",
        Script::Bengali => "Bengali",
        Script::Gurmukhi => "Punjabi",
        Script::Gujarati => "Gujarati",
        Script::Oriya => "Oriya",
        Script::Tamil => "Tamil",
        Script::Telugu => "Telugu",
        Script::Kannada => "Kannada",
        Script::Malayalam => "Malayalam",
        Script::Sinhala => "Sinhala",
        Script::Lao => "Lao",
        Script::Tibetan => "Tibetan",
        Script::Burmese => "Burmese",
        Script::Ethiopic => "Amharic",
        Script::Khmer => "Khmer",
        Script::Latin | Script::Cyrillic | Script::Arabic | Script::Devanagari | Script::None => return None,
    })
}
