//! `ngx_http_auth_basic_module`: user names and passwords against a file in htpasswd's format.
//!
//! The file is read anew for every request, as in nginx: an administrator's change holds at once. What is expensive is the
//! hash. It is computed on a thread beside the loop, and a password that was right is remembered ([`cache`]) so that a page with
//! thirty pictures costs one bcrypt and not thirty-one.

mod cache;
mod crypt;
mod des;
mod file;
mod md5;
mod sha;

use std::rc::Rc;

use ::conf::{Arity, Contexts, Directive, Error, Result, Shape};
use http1::Method;

use crate::build::{Builder, Conf, MergeCx, Slot};
use crate::log::{Level, Text};
use crate::module::{Attach, Module};
use crate::phase::{Flow, Handler, Phase, Step, order};
use crate::request::Request;
use crate::script::Template;

/// The module.
pub const MODULE: AuthBasic = AuthBasic;

static CONF: Slot<AuthBasicConf> = Slot::new();

/// See the module's documentation.
pub struct AuthBasic;

const PLACES: Contexts = Contexts::HTTP_SERVER_LOCATION.or(Contexts::LIMIT_EXCEPT);

static DIRECTIVES: &[Directive<Builder>] = &[
    Directive {
        name: "auth_basic",
        contexts: PLACES,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "off",
        doc: "Asks for a user name and a password for this realm. The value `off`, which may come from a variable, \
              asks for nothing.",
        apply: |cx, node| {
            if cx.conf(&CONF).realm.is_some() {
                return Err(Error::predicate("is duplicate"));
            }
            let realm = Template::parse(cx, node, node.first())?;
            cx.conf(&CONF).realm = Some(Rc::new(realm));
            Ok(())
        },
    },
    Directive {
        name: "auth_basic_user_file",
        contexts: PLACES,
        arity: Arity::Exactly(1),
        shape: Shape::Simple,
        default: "",
        doc: "File of users: `name:hash` on each line, as htpasswd and crypt make them.",
        apply: |cx, node| {
            if cx.conf(&CONF).user_file.is_some() {
                return Err(Error::predicate("is duplicate"));
            }
            let path = cx.paths.conf(node.first());
            let path = Template::parse(cx, node, path.as_os_str().as_encoded_bytes())?;
            cx.conf(&CONF).user_file = Some(Rc::new(path));
            Ok(())
        },
    },
];

/// What is asked for, and where the answers stand.
#[derive(Default)]
pub struct AuthBasicConf {
    realm: Option<Rc<Template>>,
    user_file: Option<Rc<Template>>,
}

impl Conf for AuthBasicConf {
    fn merge(&mut self, outer: &Self, _cx: &mut MergeCx<'_>) -> Result<()> {
        if self.realm.is_none() {
            self.realm.clone_from(&outer.realm);
        }
        if self.user_file.is_none() {
            self.user_file.clone_from(&outer.user_file);
        }
        Ok(())
    }
}

impl Module for AuthBasic {
    fn name(&self) -> &'static str {
        "ngx_http_auth_basic_module"
    }

    fn directives(&self) -> &'static [Directive<Builder>] {
        DIRECTIVES
    }

    fn register(&self, cx: &mut Builder) {
        cx.register(&CONF);
    }

    fn attach(&self, cx: &mut Attach<'_>) -> Result<()> {
        let conf = cx.confs.get(&CONF);
        let (Some(realm), Some(user_file)) = (&conf.realm, &conf.user_file) else { return Ok(()) };
        if realm.as_literal() != Some(b"off") {
            let check = Check { realm: Rc::clone(realm), user_file: Rc::clone(user_file) };
            cx.handler(Phase::Access, order::AUTH_BASIC, Rc::new(check));
        }
        Ok(())
    }
}

struct Check {
    realm: Rc<Template>,
    user_file: Rc<Template>,
}

impl Handler for Check {
    fn handle<'r>(&'r self, req: &'r mut Request) -> Step<'r> {
        let realm = self.realm.eval(req);
        if realm == b"off" {
            return Step::Ready(Flow::Next);
        }
        match req.basic_credentials() {
            Some(login) => Step::wait(self.check(req, realm, login)),
            None => {
                req.log(Level::Info, format_args!("no user/password was provided for basic authentication"));
                Step::Ready(challenge(req, &realm))
            }
        }
    }
}

impl Check {
    async fn check(&self, req: &mut Request, realm: Vec<u8>, login: (Vec<u8>, Vec<u8>)) -> Flow {
        let (user, password) = login;
        let path = self.user_file.eval(req);
        let stored = match file::find(&path, &user).await {
            Ok(stored) => stored,
            Err(error) => {
                let missing = error.kind() == std::io::ErrorKind::NotFound;
                let (level, status) = if missing { (Level::Error, 403) } else { (Level::Crit, 500) };
                let error = ::conf::error::errno(&error);
                req.log(level, format_args!("open() \"{}\" failed ({error})", Text(&path)));
                return Flow::Status(status);
            }
        };
        let Some(stored) = stored else {
            req.log_error(format_args!("user \"{}\" was not found in \"{}\"", Text(&user), Text(&path)));
            return challenge(req, &realm);
        };
        match matches(stored, password).await {
            Ok(true) => Flow::Done,
            Ok(false) => {
                req.log_error(format_args!("user \"{}\": password mismatch", Text(&user)));
                challenge(req, &realm)
            }
            Err(reason) => {
                req.log(Level::Crit, format_args!("crypt() failed for user \"{}\": {reason}", Text(&user)));
                Flow::Status(500)
            }
        }
    }
}

/// Whether `password` is what `stored` was made from.
async fn matches(stored: Vec<u8>, password: Vec<u8>) -> Result<bool, String> {
    let scheme = crypt::Scheme::of(&stored).ok_or("the hash is of an unknown kind")?;
    if !scheme.is_expensive() {
        return scheme.verify(&stored, &password);
    }
    let key = cache::Key::new(&stored, &password);
    if cache::knows(&key) {
        return Ok(true);
    }
    let verified = net::blocking(move || Ok(scheme.verify(&stored, &password))).await;
    let right = verified.map_err(|error| error.to_string())??;
    if right {
        cache::remember(key);
    }
    Ok(right)
}

/// Asks the client for a name and a password.
fn challenge(req: &mut Request, realm: &[u8]) -> Flow {
    let value = [b"Basic realm=\"", realm, b"\""].concat();
    if req.method == Method::Connect {
        req.out.headers.push(b"Proxy-Authenticate", &value);
        return Flow::Status(407);
    }
    req.out.headers.push(b"WWW-Authenticate", &value);
    Flow::Status(401)
}
