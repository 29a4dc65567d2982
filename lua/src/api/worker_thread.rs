//! `ngx.run_worker_thread`: a function of a module run on another thread, for what computes long or blocks.
//!
//! Each thread of the pool has a VM of its own, made when it is first needed; values cross as copies. What needs a request or
//! waits is not there.

use std::cell::RefCell;
use std::rc::Rc;

use worker::modules::main;

use super::Function;
use crate::conf::HttpConf;
use crate::ffi::call::Result;
use crate::ffi::{Call, Returns, State, Type, Vm};
use crate::function;
use crate::phase::Phases;
use crate::runtime;
use crate::sched::{Answer, Command};

/// The functions.
pub static FUNCTIONS: &[Function] = &[function!(
    "ngx.run_worker_thread",
    Phases::PATIENT,
    "Runs a function of a module on another thread.",
    run
)];

/// Tables inside tables that are copied.
const DEPTH_MAX: usize = 32;

/// A Lua value on its way between VMs.
enum Value {
    Nil,
    Boolean(bool),
    Number(f64),
    Text(Vec<u8>),
    Null,
    Table(Vec<(Value, Value)>),
}

impl Value {
    /// Copies the value at `index`.
    fn read(lua: State<'_>, index: i32, depth: usize) -> std::result::Result<Self, &'static str> {
        Ok(match lua.type_of(index) {
            Type::Nil | Type::None => Value::Nil,
            Type::Boolean => Value::Boolean(lua.to_bool(index)),
            Type::Number => Value::Number(lua.to_number(index).unwrap_or_default()),
            Type::String => Value::Text(lua.to_bytes(index).unwrap_or_default().to_vec()),
            Type::LightUserdata if lua.to_light(index) == Some(0) => Value::Null,
            Type::Table if depth >= DEPTH_MAX => {
                return Err("suspicious circular references, table depth exceed max depth: 100");
            }
            Type::Table => {
                let table = lua.absolute(index);
                let mut pairs = Vec::new();
                lua.push_nil();
                while lua.next(table) {
                    pairs.push((Self::read(lua, -2, depth + 1)?, Self::read(lua, -1, depth + 1)?));
                    lua.pop(1);
                }
                Value::Table(pairs)
            }
            Type::Function => return Err("unsupported Lua type: LUA_TFUNCTION"),
            Type::Thread => return Err("unsupported Lua type: LUA_TTHREAD"),
            Type::Userdata | Type::LightUserdata => return Err("unsupported Lua type: LUA_TUSERDATA"),
            Type::Cdata => return Err("unsupported Lua type"),
        })
    }

    fn push(&self, lua: State<'_>) {
        match self {
            Value::Nil => lua.push_nil(),
            Value::Boolean(value) => lua.push_bool(*value),
            Value::Number(value) => lua.push_number(*value),
            Value::Text(text) => lua.push_bytes(text),
            Value::Null => lua.push_light(0),
            Value::Table(pairs) => {
                lua.push_table(0, pairs.len());
                for (key, value) in pairs {
                    key.push(lua);
                    value.push(lua);
                    lua.raw_set(-3);
                }
            }
        }
    }
}

/// What the other thread needs of the configuration.
struct Setting {
    package_path: Option<Vec<u8>>,
    package_cpath: Option<Vec<u8>>,
    memory_max: usize,
}

thread_local! {
    static OWN: RefCell<Option<Rc<Vm>>> = const { RefCell::new(None) };
}

fn run(call: &mut Call<'_>) -> Result {
    let lua = call.lua;
    let refuse = |text: String| {
        lua.push_bool(false);
        lua.push_bytes(text);
        Ok(Returns::values(2))
    };
    if call.count() < 3 {
        return refuse("expecting at least 3 arguments".into());
    }
    if lua.type_of(1) != Type::String {
        return refuse("threadpool should be a string".into());
    }
    let worker = runtime::worker().ok_or("no worker")?;
    let pool = String::from_utf8_lossy(call.bytes(1)?).into_owned();
    if !worker.config.main.get(&main::CONF).thread_pools.contains(&pool) {
        return refuse(format!("thread pool {pool} not found"));
    }
    if lua.type_of(2) != Type::String {
        return refuse("module name should be a string".into());
    }
    if lua.type_of(3) != Type::String {
        return refuse("function name should be a string".into());
    }
    let (module, function) = (call.bytes(2)?.to_vec(), call.bytes(3)?.to_vec());
    let mut arguments = Vec::new();
    for n in 4..=call.count() {
        match Value::read(lua, n, 0) {
            Ok(value) => arguments.push(value),
            Err(text) => return refuse(format!("{text} in the argument")),
        }
    }
    let conf = runtime::http_settings(&worker);
    let setting = Setting {
        package_path: conf.package_path.as_deref().map(<[u8]>::to_vec),
        package_cpath: conf.package_cpath.as_deref().map(<[u8]>::to_vec),
        memory_max: conf.memory_limit,
    };
    call.yields(
        Command::Wait(Box::pin(async move {
            let work = move || Ok(on_thread(&setting, &module, &function, &arguments));
            let results = match net::blocking(work).await {
                Ok(results) => results,
                Err(error) => Err(error.to_string().into_bytes()),
            };
            Answer::push(move |lua, _| match results {
                Ok(values) => {
                    lua.push_bool(true);
                    values.iter().for_each(|value| value.push(lua));
                    values.len() as i32 + 1
                }
                Err(text) => {
                    lua.push_bool(false);
                    lua.push_bytes(text);
                    2
                }
            })
        })),
        0,
    )
}

/// Runs the function, on the other thread.
fn on_thread(
    setting: &Setting,
    module: &[u8],
    function: &[u8],
    arguments: &[Value],
) -> std::result::Result<Vec<Value>, Vec<u8>> {
    let vm = match OWN.with_borrow(Clone::clone) {
        Some(vm) => vm,
        None => {
            let conf = HttpConf {
                package_path: setting.package_path.as_deref().map(Into::into),
                package_cpath: setting.package_cpath.as_deref().map(Into::into),
                memory_limit: setting.memory_max,
                ..HttpConf::default()
            };
            let vm = runtime::make(&conf, None).map_err(String::into_bytes)?;
            OWN.set(Some(Rc::clone(&vm)));
            vm
        }
    };
    let lua = vm.main();
    lua.set_top(0);
    let failed = |lua: State<'_>| lua.to_bytes(-1).unwrap_or(b"unknown reason").to_vec();
    lua.push_value(State::GLOBALS);
    lua.raw_get_field(1, "require");
    lua.push_bytes(module);
    lua.protected_call(1, 1).map_err(|_| failed(lua))?;
    if lua.type_of(-1) != Type::Table {
        return Err(b"invalid lua module".to_vec());
    }
    lua.raw_get_field(-1, function);
    if lua.type_of(-1) != Type::Function {
        return Err(b"invalid function".to_vec());
    }
    let bottom = lua.top();
    arguments.iter().for_each(|value| value.push(lua));
    lua.protected_call(arguments.len() as i32, State::ALL_RESULTS).map_err(|_| failed(lua))?;
    let results = (bottom..=lua.top()).map(|n| Value::read(lua, n, 0));
    let results = results.collect::<std::result::Result<Vec<_>, _>>();
    lua.set_top(0);
    results.map_err(|text| format!("{text} in the return value").into_bytes())
}
