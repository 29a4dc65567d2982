//! Numbers by chance and in turn.

use rand::Rng;
use rand::TryRngCore;
use rand::rngs::OsRng;

use super::Call;

type Made = Result<(), String>;

/// Longest text of `set_secure_random_*`.
const LENGTH_MAX: i64 = 64;

/// Two numbers in ascending order.
fn bounds(call: &Call<'_>, from: usize, message: fn(&str, &str) -> String) -> Result<(i64, i64), String> {
    let bad = |what, i| message(what, &String::from_utf8_lossy(call.arg(i)));
    let low = call.number(from).ok_or_else(|| bad("from", from))?;
    let high = call.number(from + 1).ok_or_else(|| bad("to", from + 1))?;
    Ok((low.min(high), low.max(high)))
}

/// `set_random`.
pub(super) fn random(call: &mut Call<'_>) -> Made {
    let (low, high) = bounds(call, 0, |what, value| format!("set_random: bad \"{what}\" argument: {value}"))?;
    let number = rand::rng().random_range(low..=high);
    call.out.extend_from_slice(number.to_string().as_bytes());
    Ok(())
}

/// `set_rotate`: the number behind the current value of the variable, or behind the last one given in this place.
pub(super) fn rotate(call: &mut Call<'_>) -> Made {
    let (low, high) =
        bounds(call, 1, |what, value| format!("set_rotate: bad \"{what}\" argument value: \"{value}\""))?;
    let current = match (call.arg(0).is_empty(), call.number(0)) {
        (false, Some(number)) => Some(number),
        (true, _) => None,
        (false, None) => {
            let value = String::from_utf8_lossy(call.arg(0)).into_owned();
            call.req.log_error(format_args!("set_rotate: bad current value: \"{value}\""));
            None
        }
    };
    let current = current.or_else(|| call.turn.get());
    let next = current.and_then(|current| current.checked_add(1)).filter(|next| (low..=high).contains(next));
    let next = next.unwrap_or(low);
    call.turn.set(Some(next));
    call.out.extend_from_slice(next.to_string().as_bytes());
    Ok(())
}

fn secure(call: &mut Call<'_>, alphabet: &[u8]) -> Made {
    let length = call.number(0).filter(|length| (1..=LENGTH_MAX).contains(length)).ok_or_else(|| {
        format!("set_random: bad \"length\" argument: {}", String::from_utf8_lossy(call.arg(0)))
    })?;
    let mut random = OsRng.unwrap_err();
    for _ in 0..length {
        call.out.push(alphabet[random.random_range(0..alphabet.len())]);
    }
    Ok(())
}

/// `set_secure_random_alphanum`.
pub(super) fn secure_alphanum(call: &mut Call<'_>) -> Made {
    secure(call, b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
}

/// `set_secure_random_lcalpha`.
pub(super) fn secure_lcalpha(call: &mut Call<'_>) -> Made {
    secure(call, b"abcdefghijklmnopqrstuvwxyz")
}
