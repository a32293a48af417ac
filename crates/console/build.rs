//! Lists the runbooks, so that a new one is part of the console without being named anywhere.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

fn main() -> io::Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = here.join("../../docs/runbooks").canonicalize()?;
    println!("cargo:rerun-if-changed={}", directory.display());
    let mut files = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    files.sort_by_key(fs::DirEntry::file_name);
    let mut list = String::new();
    for path in files.iter().map(fs::DirEntry::path) {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if path.extension().is_some_and(|kind| kind == "md") && name != "README" {
            let _ = writeln!(list, "({name:?}, include_str!({path:?})),");
        }
    }
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    fs::write(Path::new(&out).join("runbooks.rs"), format!("&[\n{list}]"))
}
