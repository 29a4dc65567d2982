//! Timeouts, tries and buffers of a request: the location's `proxy_*` settings with what route and upstream say on top.

use std::rc::Rc;

use schemas::resource::{Timeout, Upstream};

use super::plan::{MadeSettings, Plan};
use super::target::Target;
use crate::modules::proxy::ProxyConf;
use crate::upstream::Settings;

/// The settings of `plan` towards `target` in the location of `conf`; made once and kept in the plan.
pub(super) fn of(plan: &Plan, target: &Target, conf: &Rc<ProxyConf>) -> Rc<Settings> {
    let key = (Rc::as_ptr(conf).addr(), std::ptr::from_ref(target).addr());
    if let Some(made) = &*plan.settings.borrow()
        && made.key == key
    {
        return Rc::clone(&made.settings);
    }
    let made = Rc::new(make(conf, &target.resource, plan.timeout.as_ref()));
    *plan.settings.borrow_mut() = Some(MadeSettings { key, settings: Rc::clone(&made) });
    made
}

fn make(conf: &ProxyConf, upstream: &Upstream, route: Option<&Timeout>) -> Settings {
    let mut settings = conf.compile();
    // APISIX passes the upstream's on
    settings.hidden.remove(b"Date");
    if let Some(timeout) = route.or(upstream.timeout.as_ref()) {
        settings.connect_timeout = ms(timeout.connect);
        settings.send_timeout = ms(timeout.send);
        settings.read_timeout = ms(timeout.read);
        settings.socket.timeout = Some(std::time::Duration::from_millis(settings.connect_timeout));
    }
    if let Some(retries) = upstream.retries {
        settings.tries_max = usize::try_from(retries).unwrap_or(usize::MAX).saturating_add(1);
    }
    if let Some(timeout) = upstream.retry_timeout {
        settings.tries_timeout = ms(timeout);
    }
    settings
}

/// Seconds to milliseconds, at least one unless it is zero.
fn ms(seconds: f64) -> u64 {
    if seconds <= 0.0 { 0 } else { ((seconds * 1000.0) as u64).max(1) }
}
