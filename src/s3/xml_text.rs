//! The characters that XML can spell, and a spelling for the others.
//!
//! Source: <https://www.w3.org/TR/xml/#charsets>: XML 1.0 has no U+FFFE, no U+FFFF and no control character
//! but tab, line feed and carriage return, not even as a reference, so one such key makes a whole page of a
//! list unreadable (P52). Keys with them are refused on every way in; one that is in the bucket already is
//! spelled as the control character U+0091 ("private use one") and the percent-encoded bytes of the
//! character: U+FFFE as `U+0091 %EF%BF%BE`. U+0091 itself is spelled so as well. So the spelling is read back
//! in one way only, and no key that can be reached through this server looks like it, for those hold no
//! control characters.

use std::borrow::Cow;

/// What a character that XML cannot spell begins with.
pub const MARK: char = '\u{91}';

/// Whether XML 1.0 has that character.
pub fn is_xml(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// Whether a character of a list is spelled otherwise: XML does not have it, or it is the mark.
pub(crate) fn is_spelled_otherwise(character: char) -> bool {
    character == MARK || !is_xml(character)
}

/// The spelling of bytes that are no character of XML.
pub(crate) fn spell(bytes: &[u8]) -> String {
    let mut text = String::from(MARK);
    for byte in bytes {
        text.push('%');
        text.push_str(&hex::encode_upper([*byte]));
    }
    text
}

/// `text` with all that XML cannot spell spelled otherwise.
pub(crate) fn legal(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_spelled_otherwise) {
        return Cow::Borrowed(text);
    }
    let mut legal = String::with_capacity(text.len());
    for character in text.chars() {
        match is_spelled_otherwise(character) {
            true => legal.push_str(&spell(character.encode_utf8(&mut [0; 4]).as_bytes())),
            false => legal.push(character),
        }
    }
    Cow::Owned(legal)
}

/// The text of which [`legal`] made `spelled`; what is no such spelling stays.
pub(crate) fn read_back(spelled: &str) -> Cow<'_, str> {
    let Some((before, mut rest)) = spelled.split_once(MARK) else { return Cow::Borrowed(spelled) };
    let mut text = String::from(before);
    loop {
        match spelled_character(rest) {
            Some((character, behind)) => {
                text.push(character);
                rest = behind;
            }
            None => text.push(MARK),
        }
        let Some((before, behind)) = rest.split_once(MARK) else { break };
        text.push_str(before);
        rest = behind;
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// The character whose percent-encoded bytes stand at the beginning of `text`, and what follows them.
fn spelled_character(text: &str) -> Option<(char, &str)> {
    let mut bytes = Vec::with_capacity(4);
    let mut rest = text;
    while bytes.len() < 4 {
        let digits = rest.strip_prefix('%')?.get(..2)?;
        bytes.extend(hex::decode(digits).ok()?);
        rest = rest.get(3..)?;
        if let Ok(spelled) = std::str::from_utf8(&bytes) {
            return spelled.chars().next().filter(|one| is_spelled_otherwise(*one)).map(|one| (one, rest));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p52_what_xml_cannot_spell_is_spelled_in_one_way() {
        for (text, spelled) in [
            ("a\u{fffe}b", "a\u{91}%EF%BF%BEb"),
            ("\u{ffff}", "\u{91}%EF%BF%BF"),
            ("\0\u{1f}", "\u{91}%00\u{91}%1F"),
            ("\u{91}%00", "\u{91}%C2%91%00"),
            ("plain %00 \u{fffd} \u{7f} \u{85} \t\r\n \u{d7ff}\u{e000}\u{10ffff}", ""),
        ] {
            assert_eq!(legal(text), if spelled.is_empty() { text } else { spelled }, "{text:?}");
            assert_eq!(read_back(&legal(text)), text);
        }
        for other in
            ["\u{91}", "\u{91}%", "\u{91}%4", "\u{91}%41", "\u{91}%C3%A9", "\u{91}%F0%9F", "\u{91}%é1"]
        {
            assert_eq!(read_back(other), other, "{other:?}");
        }
    }
}
