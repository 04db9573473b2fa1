//! Numbers of seven bits a byte, low bits first.

pub fn put(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads one number and moves `at` past it. What is read was written by `put`, whole.
#[inline]
pub fn get(data: &[u8], at: &mut usize) -> u64 {
    let byte = data[*at];
    *at += 1;
    if byte < 0x80 {
        return u64::from(byte);
    }
    let mut value = u64::from(byte & 0x7f);
    let mut shift = 7;
    loop {
        let byte = data[*at];
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
        shift += 7;
    }
}

#[inline]
pub fn get_wide(data: &[u8], at: &mut usize) -> u128 {
    if data[*at] < 0x80 {
        *at += 1;
        return u128::from(data[*at - 1]);
    }
    let mut value = 0;
    let mut shift = 0;
    loop {
        let byte = data[*at];
        *at += 1;
        value |= u128::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let numbers = [0, 1, 127, 128, 300, u128::from(u32::MAX), u128::from(u64::MAX)];
        let mut data = Vec::new();
        numbers.iter().for_each(|&n| put(&mut data, n));
        let mut at = 0;
        numbers.iter().for_each(|&n| assert_eq!(u128::from(get(&data, &mut at)), n));
        assert_eq!(at, data.len());
        let wide = [0, 1 << 127, u128::MAX];
        data.clear();
        wide.iter().for_each(|&n| put(&mut data, n));
        at = 0;
        wide.iter().for_each(|&n| assert_eq!(get_wide(&data, &mut at), n));
    }
}
