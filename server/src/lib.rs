//! hyperloader-server: serves exported taggers over HTTP.
//!
//! ```no_run
//! use hyperloader_server::{Config, Limits, ModelPath, Server};
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config {
//!     bind: ([127, 0, 0, 1], 8080).into(),
//!     models: vec![ModelPath { name: None, path: "mtop.onnx".into() }],
//!     tagger: Default::default(),
//!     api_keys: None,
//!     reload_every: None,
//!     limits: Limits::default(),
//! };
//! let server = Server::open(&config)?;
//! let listener = tokio::net::TcpListener::bind(config.bind).await?;
//! server.run(listener, std::future::pending()).await;
//! # Ok(())
//! # }
//! ```
//!
//! A request passes through the modules in this order:
//!
//! - [`Server`] (`serve`): accepts connections and stops, by its [`Config`] (`config`)
//! - `api`: addresses, and what bodies and answers mean; `body`: bodies within limits; `keys`: who may ask
//! - `tagging`: texts to parts, outputs to JSON objects
//! - `scheduler`: the threads that tag; `queue`: which parts share a batch; `work`: what waits
//!
//! Below them:
//!
//! - `models`: the taggers and how they are loaded again; `copy`: their own copies of the files
//! - `metrics`: what is counted; `problem`: why a request is not answered; [`ServeError`] (`error`): why there is no server
//!
//! Feature: `cli` is the program `hl-serve`. The library does not need it.

mod api;
mod app;
mod body;
mod config;
mod copy;
mod error;
mod keys;
mod metrics;
mod models;
mod peer;
mod problem;
mod queue;
mod scheduler;
mod serve;
mod tagging;
mod work;

pub use api::documents::OPENAPI;
pub use config::{Config, Limits, ModelPath};
pub use copy::remove_copies;
pub use error::ServeError;
pub use serve::{Reloader, Server};
