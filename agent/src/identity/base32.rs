//! Lower-case base32 without padding: the text form of keys and tokens. Case does not matter when
//! reading, and a double click selects the whole of it.

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity((bytes.len() * 8).div_ceil(5));
    let mut held: u16 = 0;
    let mut held_bits = 0;
    for byte in bytes {
        held = (held << 8) | u16::from(*byte);
        held_bits += 8;
        while held_bits >= 5 {
            held_bits -= 5;
            text.push(letter(held >> held_bits));
            held &= (1 << held_bits) - 1;
        }
    }
    if held_bits > 0 {
        text.push(letter(held << (5 - held_bits)));
    }
    text
}

fn letter(value: u16) -> char {
    char::from(ALPHABET[usize::from(value & 31)])
}

/// Why a text is not base32.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Base32Fault {
    /// A character that the alphabet lacks.
    Character(char),
    /// No whole number of bytes encodes to this many characters, or the spare bits are not zero.
    Length,
}

pub(super) fn decode(text: &str) -> Result<Vec<u8>, Base32Fault> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let mut held: u16 = 0;
    let mut held_bits = 0;
    for character in text.chars() {
        let value = match character.to_ascii_lowercase() {
            letter @ 'a'..='z' => letter as u8 - b'a',
            digit @ '2'..='7' => digit as u8 - b'2' + 26,
            _ => return Err(Base32Fault::Character(character)),
        };
        held = (held << 5) | u16::from(value);
        held_bits += 5;
        if held_bits >= 8 {
            held_bits -= 8;
            bytes.push((held >> held_bits) as u8);
            held &= (1 << held_bits) - 1;
        }
    }
    if held_bits >= 5 || held != 0 {
        return Err(Base32Fault::Length);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_and_every_length_come_back() {
        assert_eq!(encode(b"foobar"), "mzxw6ytboi");
        assert_eq!(decode("MZXW6ytboi").unwrap(), b"foobar");
        let bytes: Vec<u8> = (0..64).map(|n| (n * 37 + 11) as u8).collect();
        for length in 0..bytes.len() {
            let text = encode(&bytes[..length]);
            assert_eq!(decode(&text).unwrap(), bytes[..length], "length {length}");
        }
    }

    #[test]
    fn foreign_characters_and_impossible_lengths_are_refused() {
        assert_eq!(decode("mzx!"), Err(Base32Fault::Character('!')));
        assert_eq!(decode("mzx1"), Err(Base32Fault::Character('1')));
        assert_eq!(decode("m"), Err(Base32Fault::Length));
        assert_eq!(decode("mz"), Err(Base32Fault::Length), "spare bits are set");
    }
}
