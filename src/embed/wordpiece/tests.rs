use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Pieces that overlap in many ways; what is missing makes words unknown.
const WORDS: [&str; 24] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "ab", "abc", "un", "able", "e", "i", "##a", "##b", "##ab",
    "##able", "##e", "!", "[", "#", "日", "ß", "\u{1100}",
];

fn tokenizer(change: impl Fn(&mut serde_json::Value)) -> Tokenizer {
    let vocabulary: serde_json::Map<_, _> =
        WORDS.iter().zip(0..).map(|(word, id)| ((*word).into(), json!(id))).collect();
    let added: Vec<_> = (0..5)
        .map(|id| {
            json!({"id": id, "content": WORDS[id], "special": true, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false})
        })
        .collect();
    let mut file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": null, "decoder": null,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 9, "vocab": vocabulary},
    });
    change(&mut file);
    Tokenizer::from_bytes(file.to_string()).unwrap()
}

/// Whether ours was sure of itself, after it gave the ids of the crate.
fn agrees(hf: &Tokenizer, ours: &WordPiece, text: &str, limit: usize) -> bool {
    let mut want = hf.encode_fast(text, false).unwrap().get_ids().to_vec();
    want.truncate(limit);
    let mut found = vec![77];
    let sure = ours.encode(text, limit, &mut found).is_ok();
    assert_eq!(found, if sure { [vec![77], want].concat() } else { vec![77] }, "{text:?}");
    sure
}

#[test]
fn texts_with_a_catch_have_the_ids_of_the_crate() {
    let hf = tokenizer(|_| {});
    let ours = WordPiece::of(&hf).unwrap();
    let long = ["a".repeat(9), "a".repeat(10), "a".repeat(100_000), "! ".repeat(50_000), "é".repeat(9), "é".repeat(10)];
    let texts = [
        "",
        " ",
        "\t\r\n\u{b}\u{c}",
        "\0",
        "a\0b",
        "\u{fffd}",
        "abunable",
        "un able",
        "UNABLE!",
        "x",
        "ax",
        "##a",
        "#",
        "a##b",
        "[CLS]",
        "a[CLS]b",
        "[cls]",
        "[CL",
        "[[MASK]]",
        "日a日",
        "ÉÈ",
        "e\u{301}",
        "\u{301}",
        "ß",
        "가",
        "i\u{307}",
        "İ",
        "ﬀ",
        "\u{37e}",
        "\u{226e}",
        "a\u{200d}b",
        "a\u{a0}b",
        "👩‍💻",
        "a\u{ad}b",
        "\u{85}",
        "\u{1f}",
        "\u{7f}",
    ];
    for limit in [0, 1, 2, 100] {
        for text in texts.into_iter().chain(long.iter().map(String::as_str)) {
            assert!(agrees(&hf, &ours, text, limit), "{text:?}");
        }
    }
    assert!(!agrees(&hf, &ours, "a\u{302e}b", 9));
}

#[test]
fn every_character_has_the_ids_of_the_crate() {
    for (strip_accents, lowercase) in
        [(json!(null), true), (json!(false), true), (json!(true), false), (json!(null), false)]
    {
        let hf = tokenizer(|file| {
            file["normalizer"]["strip_accents"] = strip_accents.clone();
            file["normalizer"]["lowercase"] = json!(lowercase);
        });
        let ours = WordPiece::of(&hf).unwrap();
        // every script up to the ideographs, and a sample beyond
        let chars = ('\0'..'\u{3400}').step_by(3).chain(('\u{3400}'..=char::MAX).step_by(4_001));
        let sure = chars.filter(|char| agrees(&hf, &ours, &format!("a{char}b"), 9)).count();
        assert!(sure > 4_000, "{sure}");
    }
}

#[test]
fn a_text_that_ends_early_is_not_read_further() {
    let hf = tokenizer(|_| {});
    let ours = WordPiece::of(&hf).unwrap();
    // what comes after the limit could not be read here
    assert!(ours.encode("a b \u{302e}", 2, &mut Vec::new()).is_ok());
    assert_eq!(ours.encode("a b \u{302e}", 3, &mut Vec::new()), Err(Unproven));
}

#[test]
fn other_tokenizers_are_left_to_the_crate() {
    type Change = fn(&mut serde_json::Value);
    let changes: [Change; 7] = [
        |file| file["normalizer"] = json!({"type": "Lowercase"}),
        |file| file["normalizer"] = json!(null),
        |file| file["pre_tokenizer"] = json!({"type": "Whitespace"}),
        |file| file["model"]["continuing_subword_prefix"] = json!("@@"),
        |file| file["model"]["unk_token"] = json!("[NONE]"),
        |file| file["added_tokens"][0]["normalized"] = json!(true),
        |file| file["model"] = json!({"type": "WordLevel", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]"}),
    ];
    for change in changes {
        assert!(WordPiece::of(&tokenizer(change)).is_none());
    }
}

#[test]
fn added_tokens_that_look_around_are_left_to_the_crate() {
    for flag in ["single_word", "lstrip", "rstrip"] {
        let hf = tokenizer(|file| file["added_tokens"][4][flag] = json!(true));
        let ours = WordPiece::of(&hf).unwrap();
        assert!(!agrees(&hf, &ours, "a [MASK] b", 9));
        assert!(agrees(&hf, &ours, "a [CLS] b", 9));
    }
}

#[test]
fn of_two_added_tokens_at_one_place_the_longer_counts() {
    let hf = tokenizer(|file| {
        for (id, content) in [(24, "<s"), (25, "<s>"), (26, "ééé"), (27, "aba")] {
            let token = json!({"id": id, "content": content, "special": false, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false});
            file["added_tokens"].as_array_mut().unwrap().push(token);
        }
    });
    let ours = WordPiece::of(&hf).unwrap();
    for text in ["<s>a<s b<", "a<s<s>>", "aéééb éé", "ABA abab aaba"] {
        assert!(agrees(&hf, &ours, text, 99));
    }
}

static BERT: LazyLock<(Tokenizer, WordPiece)> = LazyLock::new(|| {
    let hf = tokenizer(|_| {});
    let ours = WordPiece::of(&hf).unwrap();
    (hf, ours)
});

proptest! {
    #[test]
    fn random_texts_have_the_ids_of_the_crate(
        ascii in "[\\x00-\\x7f]{0,60}",
        words in "([abeinu日é#!]{0,12}[ \t\n]?){0,9}",
        special in "(\\[(CLS|SEP|MASK|PAD|cls)\\]?|[ab日 ]){0,12}",
        any in "\\PC{0,40}",
        limit in 0usize..40,
    ) {
        let (hf, ours) = &*BERT;
        prop_assert!(agrees(hf, ours, &ascii, limit));
        prop_assert!(agrees(hf, ours, &words, limit));
        prop_assert!(agrees(hf, ours, &special, limit));
        agrees(hf, ours, &any, limit);
    }

    #[test]
    fn random_characters_have_the_ids_of_the_crate(chars in proptest::collection::vec(any::<char>(), 0..40)) {
        agrees(&BERT.0, &BERT.1, &chars.into_iter().collect::<String>(), 99);
    }
}
