//! Numbers as C's `printf` writes them.

/// `%.Ng`.
pub fn general(number: f64, digits: usize) -> Vec<u8> {
    if number.is_nan() {
        return if number.is_sign_negative() { b"-nan".to_vec() } else { b"nan".to_vec() };
    }
    if number.is_infinite() {
        return if number < 0.0 { b"-inf".to_vec() } else { b"inf".to_vec() };
    }
    let scientific = format!("{number:.*e}", digits.saturating_sub(1));
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim(mantissa), exponent.abs()).into_bytes();
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    trim(&format!("{number:.decimals$}")).as_bytes().to_vec()
}

/// Without zeros behind the last digit of the fraction.
fn trim(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_printf() {
        for (number, text) in [
            (2.5, "2.5"),
            (1e15, "1e+15"),
            (1e100, "1e+100"),
            (0.1 + 0.2, "0.3"),
            (1.0 / 3.0, "0.33333333333333"),
            (123_456.789, "123456.789"),
            (1e-5, "1e-05"),
            (-0.0, "-0"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(String::from_utf8(general(number, 14)).unwrap(), text);
        }
    }
}
