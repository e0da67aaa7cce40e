//! Is what is personal found, and what only looks like it left alone?

use proptest::prelude::*;

use super::*;

fn found(text: &str) -> Vec<(&'static str, &str)> {
    find(text).into_iter().map(|span| (span.kind.name(), &text[span.start..span.end])).collect()
}

#[test]
fn addresses_are_found() {
    assert_eq!(found("mail to ada.l+x@mail.example.org."), [("email", "ada.l+x@mail.example.org")]);
    assert_eq!(found("我的邮箱是ada@example.org。"), [("email", "ada@example.org")]);
    assert_eq!(found("ssh 203.0.113.77 -p 22"), [("ip", "203.0.113.77")]);
    assert_eq!(found("from 10.0.0.17-10.0.0.29"), [("ip", "10.0.0.17"), ("ip", "10.0.0.29")]);
    assert_eq!(found("host 2001:db8:85a3::8a2e:370:7334 down"), [("ip", "2001:db8:85a3::8a2e:370:7334")]);
    assert_eq!(found("postgres://ada:tr0ub4dor@db.internal/x"), [("url_credentials", "ada:tr0ub4dor")]);
}

#[test]
fn numbers_are_found() {
    for (text, kind, number) in [
        ("card 4111 1111 1111 1111 exp 12/25", "card", "4111 1111 1111 1111"),
        ("4111111111111111,12/25,123", "card", "4111111111111111"),
        ("amex 3782-822463-10005", "card", "3782-822463-10005"),
        ("IBAN DE89 3704 0044 0532 0130 00 THANKS", "iban", "DE89 3704 0044 0532 0130 00"),
        ("GB82WEST12345698765432", "iban", "GB82WEST12345698765432"),
        ("ssn 219-09-9999", "ssn", "219-09-9999"),
        ("CPF 529.982.247-25", "ssn", "529.982.247-25"),
        ("call +1 (415) 555-2671 now", "phone", "+1 (415) 555-2671"),
        ("+4915112345678", "phone", "+4915112345678"),
        ("my number is (212) 555-0123", "phone", "(212) 555-0123"),
        ("212-555-0123", "phone", "212-555-0123"),
        ("06 12 34 56 78", "phone", "06 12 34 56 78"),
        ("ligue (11) 91234-5678", "phone", "(11) 91234-5678"),
        ("Tel.: 5551234", "phone", "5551234"),
        ("电话：13800138000", "phone", "13800138000"),
    ] {
        assert_eq!(found(text), [(kind, number)], "{text}");
    }
}

#[test]
fn secrets_are_found() {
    let aws = format!("AKIA{}", "IOSFODNN7EXAMPLE");
    let openai = format!("sk-proj-{}", "a8F3kQ9zLm2Xw7Rt5Yb1Nc4V");
    let anthropic = format!("sk-ant-api03-{}", "Zx81kQ9zLm2Xw7Rt5Yb1Nc4V");
    let github = format!("ghp_{}", "a8F3kQ9zLm2Xw7Rt5Yb1Nc4V6dS0pJ2hG1fE");
    let google = format!("AIza{}", "SyA8F3kQ9zLm2Xw7Rt5Yb1Nc4V6dS0pJ2hG");
    let slack = format!("xoxb-{}", "123456789012-abcdefABCDEF");
    let stripe = format!("sk_live_{}", "a8F3kQ9zLm2Xw7Rt5Yb1Nc4V");
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U";
    for key in [&*aws, &openai, &anthropic, &github, &google, &slack, &stripe, jwt] {
        assert_eq!(found(&format!("use {key} please")), [("secret", key)]);
    }
    let block = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7\nabc=\n-----END RSA PRIVATE KEY-----";
    assert_eq!(found(&format!("key: {block} thanks")), [("secret", block)]);
    let value = "9f86d081884c7d659a2feaa0c55ad015";
    for line in [
        format!("API_KEY={value}"),
        format!("\"client_secret\": \"{value}\""),
        format!("api-key => '{value}'"),
        format!("Authorization: Bearer {value}"),
    ] {
        assert_eq!(found(&line), [("secret", value)], "{line}");
    }
    assert_eq!(found("password = \"Tr0ub4dor&3\""), [("secret", "Tr0ub4dor&3")]);
}

#[test]
fn ordinary_texts_are_left_alone() {
    for text in [
        "What is 123456789 * 987654321? And 4111 1111 1111 1112?",
        "1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987",
        "3 + 1234567890 = x, 01 02 03 04 05 and 0110 1010 0101",
        "install version 1.2.3.4, JRE Zulu 8.66.0.15-CA, Windows 10.0.19041.1 or v12.4.127.33; section 3.2.1.14",
        "at 127.0.0.1:8080 or 0.0.0.0, mask 255.255.255.0",
        "id 550e8400-e29b-41d4-a716-446655440000",
        "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "token = tokenizer.encode(text); key = \"description\"; api_key = os.environ[\"OPENAI_API_KEY\"]",
        "password = input('Enter your password: ')",
        "git clone git@github.com:user/repository.git and icon@2x.png",
        "postgres://user:password@localhost/db",
        "std::vector<int>::iterator at 12:30:45 and a::b::c",
        "risk-management-system-2024-final-version-for-the-board",
        "call 911 or 112; on 2023-10-12 14:30; ISBN 978-3-16-148410-0",
        "pi is 3.14159265358979 and 0.4111111111111111",
        "The population was 8,804,190 in 2020 and 7,322,564 in 1990",
        "print(f\"{user}@{host}\") # @decorator",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn a_redacted_text_keeps_the_rest() {
    assert_eq!(
        redact("Write to ada@example.org or call +1 415 555 2671.").as_deref(),
        Some("Write to [EMAIL] or call [PHONE].")
    );
    assert_eq!(redact("https://ada:tr0ub4dor@host/x").as_deref(), Some("https://[CREDENTIALS]@host/x"));
    assert_eq!(redact("nothing here"), None);
}

#[test]
fn bits_and_names_are_distinct() {
    assert_eq!(Kind::ALL.iter().fold(0, |bits, kind| bits | kind.bit()), 255);
    assert_eq!(Kind::ALL.map(Kind::bit), [1, 2, 4, 8, 16, 32, 64, 128]);
}

#[test]
fn long_texts_without_spaces_take_linear_time() {
    for unit in
        ["a", "1", "@", "+1", "1.", ":", "sk-", "key=", "(212) ", "AB12 ", "a@b.", "://", "eyJ", "bearer ", "1:"]
    {
        let text = unit.repeat(1_000_000 / unit.len());
        find(&text);
    }
}

/// Pieces that are personal or nearly so, so that random texts hit the patterns.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("ada@example.org".to_owned()),
        Just("+14155552671".to_owned()),
        Just("(212) 555-0123".to_owned()),
        Just("10.1.2.33".to_owned()),
        Just("4111111111111111".to_owned()),
        Just("DE89370400440532013000".to_owned()),
        Just("219-09-9999".to_owned()),
        Just("api_key=9f86d081884c7d659a2feaa0c55ad015".to_owned()),
        Just("https://ada:tr0ub4dor@h.org".to_owned()),
        Just("tel ".to_owned()),
        Just("version ".to_owned()),
        Just("password='".to_owned()),
        "[ .:@+/=()-]{0,3}",
        "[0-9]{1,9}",
        "[a-z]{1,6}",
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_redacted_text_holds_nothing(text in pieces()) {
        let bits = kinds(&text);
        match redact(&text) {
            None => prop_assert_eq!(bits, 0),
            Some(redacted) => {
                prop_assert_ne!(bits, 0);
                prop_assert_eq!(kinds(&redacted), 0, "{}", redacted);
                prop_assert_eq!(redact(&redacted), None);
            }
        }
    }

    #[test]
    fn finds_are_in_order_and_apart(text in pieces()) {
        let spans = find(&text);
        for span in &spans {
            prop_assert!(span.start < span.end && text.is_char_boundary(span.start) && text.is_char_boundary(span.end));
        }
        prop_assert!(spans.windows(2).all(|pair| pair[0].end <= pair[1].start));
    }
}
