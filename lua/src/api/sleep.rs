//! `ngx.sleep`.

use std::time::Duration;

use super::Function;
use crate::ffi::Call;
use crate::ffi::call::Result;
use crate::function;
use crate::phase::Phases;
use crate::sched::{Answer, Command};

/// The functions.
pub static FUNCTIONS: &[Function] =
    &[function!("ngx.sleep", Phases::PATIENT, "Waits for so many seconds.", sleep)];

/// The longest sleep, seconds: nginx's timers end there.
const SECONDS_MAX: f64 = 2_147_483.0;

fn sleep(call: &mut Call<'_>) -> Result {
    if call.count() != 1 {
        return Err(format!("attempt to pass {} arguments, but accepted 1", call.count()).into());
    }
    let seconds = call.number(1)?;
    if seconds.is_nan() || seconds < 0.0 {
        return Err(format!("invalid sleep duration \"{}\"", seconds).into());
    }
    let duration = Duration::from_millis((seconds.min(SECONDS_MAX) * 1000.0) as u64);
    call.yields(
        Command::Wait(Box::pin(async move {
            if duration.is_zero() {
                net::yield_turn().await;
            } else {
                net::sleep(duration).await;
            }
            Answer::Nothing
        })),
        0,
    )
}
