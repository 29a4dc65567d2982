//! The control plane's thread, and the master's handle to it.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use schemas::PluginSpec;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};

use crate::check::Checker;
use crate::log::Log;
use crate::member::{Member, Socket};
use crate::plane::Plane;
use crate::store::{Embedded, Opened, StoreError, Yaml};

/// Pause before a control plane that broke begins again; each is twice the one before.
const RESTART_PAUSE: Duration = Duration::from_millis(200);
/// The longest such pause. One that ran longer begins with the shortest again.
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(10);

/// What serves the Admin API until it is dropped.
pub type Service = fn(Rc<Plane>, TcpListener, PathBuf) -> Pin<Box<dyn Future<Output = io::Result<()>>>>;

/// What a control plane is made of.
#[derive(Clone)]
pub struct Options {
    /// Where resources are kept.
    pub store: StoreOptions,
    /// Where the Admin API listens, and the file with its keys.
    pub admin: Option<(std::net::SocketAddr, PathBuf)>,
    /// The plugins of this program.
    pub plugins: &'static [&'static PluginSpec],
    /// Serves the Admin API.
    pub service: Service,
}

/// Where resources are kept.
#[derive(Debug, Clone)]
pub enum StoreOptions {
    /// In a file of our own.
    Embedded(PathBuf),
    /// In a file people write.
    Yaml(PathBuf),
}

/// What the master says.
enum Order {
    Join(Socket),
    /// Let go of store and address, and say when that is done.
    Pause(SyncSender<()>),
    Resume,
}

/// The master's side.
pub struct Handle {
    orders: Option<UnboundedSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    /// A worker has been started; `socket` is our end of its gateway socket, which does not block.
    pub fn join(&self, pid: i32, socket: OwnedFd) {
        self.order(Order::Join(Socket { pid, fd: Arc::new(socket) }));
    }

    /// Lets go of the store and the Admin API's address: another program wants them. Workers serve on.
    pub fn pause(&self) {
        let (done, wait) = sync_channel(1);
        self.order(Order::Pause(done));
        // a thread that is gone holds nothing
        let _ = wait.recv();
    }

    /// Takes them back.
    pub fn resume(&self) {
        self.order(Order::Resume);
    }

    fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // a thread that is gone hears nothing
            let _ = orders.send(order);
        }
    }
}

impl Drop for Handle {
    /// Ends the thread.
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // a panic of the thread has been logged
            let _ = thread.join();
        }
    }
}

/// What must work before anything is promised: the open store and the bound address.
struct Held {
    /// `None`: the store is a file that is read.
    database: Option<redb::Database>,
    listener: Option<TcpListener>,
}

fn hold(options: &Options) -> Result<Held, String> {
    let listener = match &options.admin {
        None => None,
        Some((address, _)) => {
            let bound = TcpListener::bind(address).and_then(|listener| {
                listener.set_nonblocking(true)?;
                Ok(listener)
            });
            Some(bound.map_err(|error| format!("bind() to {address} failed: {error}"))?)
        }
    };
    let database = match &options.store {
        StoreOptions::Embedded(path) => Some(Embedded::open(path)?),
        StoreOptions::Yaml(path) => {
            Yaml::check(path, &Checker::new(options.plugins))?;
            None
        }
    };
    Ok(Held { database, listener })
}

/// Starts a control plane. An error is about its store or address.
pub fn start(options: Options, log: Log) -> Result<Handle, String> {
    let held = hold(&options)?;
    let (orders, receiver) = unbounded_channel();
    let thread = std::thread::Builder::new().name("control".into());
    let thread = thread.spawn(move || live(options, log, held, receiver));
    let thread = thread.map_err(|error| format!("cannot start the control plane: {error}"))?;
    Ok(Handle { orders: Some(orders), thread: Some(thread) })
}

/// Why a run ended.
enum End {
    /// The master let go of us.
    Over,
    Paused(SyncSender<()>),
    Broken(String),
}

fn live(options: Options, log: Log, held: Held, mut orders: UnboundedReceiver<Order>) {
    let mut held = Some(held);
    let mut sockets: Vec<Socket> = Vec::new();
    let mut pause = RESTART_PAUSE;
    loop {
        let begun = Instant::now();
        let ready = match held.take() {
            Some(held) => Ok(held),
            None => hold(&options),
        };
        let end = match ready {
            Err(reason) => End::Broken(reason),
            Ok(held) => {
                let run = || run(&options, &log, held, &mut orders, &mut sockets);
                catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
                    let text = panic.downcast_ref::<String>().map(String::as_str);
                    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
                    End::Broken(text.to_owned())
                })
            }
        };
        match end {
            End::Over => return,
            End::Paused(done) => {
                // the master waits for nothing else
                let _ = done.send(());
                if !rest(&mut orders, &mut sockets) {
                    return;
                }
            }
            End::Broken(reason) => {
                log.alert(format_args!("the control plane begins anew: {reason}"));
                pause = if begun.elapsed() > RESTART_PAUSE_MAX { RESTART_PAUSE } else { pause };
                std::thread::sleep(pause);
                pause = (pause * 2).min(RESTART_PAUSE_MAX);
                // the master may wait for an answer meanwhile
                match heard(&mut orders, &mut sockets) {
                    Heard::Nothing => {}
                    Heard::Pause(done) => {
                        let _ = done.send(());
                        if !rest(&mut orders, &mut sockets) {
                            return;
                        }
                    }
                    Heard::Over => return,
                }
            }
        }
    }
}

/// What the master said while nothing ran.
enum Heard {
    Nothing,
    Pause(SyncSender<()>),
    Over,
}

fn heard(orders: &mut UnboundedReceiver<Order>, sockets: &mut Vec<Socket>) -> Heard {
    loop {
        match orders.try_recv() {
            Ok(Order::Join(socket)) => sockets.push(socket),
            Ok(Order::Pause(done)) => return Heard::Pause(done),
            Ok(Order::Resume) => {}
            Err(TryRecvError::Empty) => return Heard::Nothing,
            Err(TryRecvError::Disconnected) => return Heard::Over,
        }
    }
}

/// Waits for [`Order::Resume`]; `false`: the master let go of us.
fn rest(orders: &mut UnboundedReceiver<Order>, sockets: &mut Vec<Socket>) -> bool {
    loop {
        match orders.blocking_recv() {
            None => return false,
            Some(Order::Resume) => return true,
            Some(Order::Join(socket)) => sockets.push(socket),
            Some(Order::Pause(done)) => drop(done.send(())),
        }
    }
}

fn run(
    options: &Options,
    log: &Log,
    held: Held,
    orders: &mut UnboundedReceiver<Order>,
    sockets: &mut Vec<Socket>,
) -> End {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return End::Broken(error.to_string()),
    };
    // workers that ended while nobody looked are found out when they are told something
    let known = sockets.clone();
    LocalSet::new().block_on(&runtime, serve(options, log, held, orders, sockets, known))
}

async fn serve(
    options: &Options,
    log: &Log,
    held: Held,
    orders: &mut UnboundedReceiver<Order>,
    sockets: &mut Vec<Socket>,
    known: Vec<Socket>,
) -> End {
    let Opened { store, mut events } = match open(options, log, held.database) {
        Ok(opened) => opened,
        Err(error) => return End::Broken(error.to_string()),
    };
    let plane = Plane::new(store, Checker::new(options.plugins), log.clone());
    known.into_iter().for_each(|socket| admit(&plane, socket));
    if let (Some(listener), Some((_, keys))) = (held.listener, &options.admin) {
        let service = (options.service)(Rc::clone(&plane), listener, keys.clone());
        let served = Rc::clone(&plane);
        supervise(&plane, async move {
            if let Err(error) = service.await {
                served.log().alert(format_args!("the Admin API ended: {error}"));
                served.give_up();
            }
        });
    }
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => plane.take(event),
                None => return End::Broken("the store's watch ended".into()),
            },
            order = orders.recv() => match order {
                None => return End::Over,
                Some(Order::Join(socket)) => {
                    sockets.retain(|other| Arc::strong_count(&other.fd) > 1);
                    sockets.push(socket.clone());
                    admit(&plane, socket);
                }
                Some(Order::Pause(done)) => return End::Paused(done),
                Some(Order::Resume) => {}
            },
            () = plane.broken() => return End::Broken("a part of it failed".into()),
        }
    }
}

fn open(options: &Options, log: &Log, database: Option<redb::Database>) -> Result<Opened, StoreError> {
    match (&options.store, database) {
        (StoreOptions::Yaml(path), _) => {
            Yaml::start(path.clone(), Checker::new(options.plugins), log.clone())
        }
        (StoreOptions::Embedded(_), Some(database)) => Embedded::start(database),
        (StoreOptions::Embedded(_), None) => Err(StoreError::Failed("the store is not open".into())),
    }
}

fn admit(plane: &Rc<Plane>, socket: Socket) {
    let pid = socket.pid;
    let member = match Member::new(socket) {
        Ok(member) => Rc::new(member),
        Err(error) => {
            plane.log().alert(format_args!("worker process {pid} cannot be followed: {error}"));
            return;
        }
    };
    plane.join(&member);
    let of = Rc::clone(plane);
    supervise(plane, async move {
        // the worker has ended, which the master says
        let _ = Rc::clone(&member).serve(Rc::clone(&of)).await;
        of.leave(&member);
    });
}

/// Runs a task whose panic is the plane's.
fn supervise(plane: &Rc<Plane>, task: impl Future<Output = ()> + 'static) {
    let task = spawn_local(task);
    let plane = Rc::clone(plane);
    spawn_local(async move {
        if task.await.is_err_and(|error| error.is_panic()) {
            plane.give_up();
        }
    });
}
