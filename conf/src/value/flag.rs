//! `on` and `off`.

/// Reads `on` or `off`, letters in any case.
pub fn parse(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("on") {
        Some(true)
    } else if text.eq_ignore_ascii_case("off") {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn flags() {
        let cases = [
            ("on", Some(true)),
            ("ON", Some(true)),
            ("Off", Some(false)),
            ("", None),
            ("1", None),
            ("on ", None),
        ];
        for (text, expected) in cases {
            assert_eq!(super::parse(text), expected, "{text:?}");
        }
    }
}
