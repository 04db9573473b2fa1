//! Passwords are kept as their SHA-256, written in hexadecimal wherever people or files see them.

use sha2::{Digest, Sha256};

/// Length of a hash as text.
const HEX_LEN: usize = 64;

/// The SHA-256 of a password.
#[derive(Clone, Copy, Debug)]
pub struct PasswordHash([u8; 32]);

impl PasswordHash {
    /// That of a password in clear.
    pub fn of(password: &[u8]) -> Self {
        Self(Sha256::digest(password).into())
    }

    /// Reads 64 lower-case hexadecimal digits.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != HEX_LEN {
            return None;
        }
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(text.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(hash))
    }

    /// As 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let nibbles = self.0.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
        nibbles.map(|nibble| char::from(DIGITS[usize::from(nibble)])).collect()
    }

    /// Are the two the same? Takes as long whether they are or not: nobody learns how much of a guess was right.
    pub fn same(&self, other: &Self) -> bool {
        let differ = self.0.iter().zip(&other.0).fold(0, |differ, (a, b)| differ | (a ^ b));
        std::hint::black_box(differ) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_as_it_is_written() {
        let hash = PasswordHash::of(b"foo");
        let hex = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
        assert_eq!(hash.hex(), hex);
        assert!(PasswordHash::parse(hex.as_bytes()).unwrap().same(&hash));
        assert!(!PasswordHash::of(b"fop").same(&hash));
        assert!(PasswordHash::parse(hex.to_uppercase().as_bytes()).is_none());
        assert!(PasswordHash::parse(&hex.as_bytes()[1..]).is_none());
    }
}
