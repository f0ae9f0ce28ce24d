//! What is made of the program that brings its C library: an image of a container, in the layout of
//! the Open Container Initiative, and files for routers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::deb;
use crate::shell::{self, Failure};

/// The user of a container, who is nobody elsewhere.
const USER: &str = "65532:65532";
/// Where a container has its data.
const DATA: &str = "/var/lib/landfall";
/// Where the terms of the libraries in the program are.
const NOTICES: &str = "usr/share/doc/landfall/third-party.txt";

/// Makes the files for routers, to be unpacked at their root; returns where they lie.
pub(super) fn openwrt(
    program: &Path,
    notices: &str,
    version: &str,
    to: &Path,
) -> Result<PathBuf, Failure> {
    let name = format!("landfall_{version}_openwrt_x86-64");
    let tree = fresh(&to.join(&name))?;
    put(&tree.join("usr/bin/landfall"), program)?;
    write(&tree.join(NOTICES), notices.as_bytes())?;
    put(&tree.join("etc/init.d/landfall"), &shell::root().join("cross/package/openwrt.init"))?;
    let tar = to.join(format!("{name}.tar"));
    pack(&tree, &tar, "0:0")?;
    zipped(&tar)
}

/// Makes the image, a folder, and returns where it lies.
pub(super) fn image(
    program: &Path,
    notices: &str,
    version: &str,
    to: &Path,
) -> Result<PathBuf, Failure> {
    let name = format!("landfall_{version}_oci_amd64");
    let tree = fresh(&to.join(format!("{name}.files")))?;
    put(&tree.join("usr/bin/landfall"), program)?;
    write(&tree.join(NOTICES), notices.as_bytes())?;
    let data = tree.join(DATA.trim_start_matches('/'));
    fs::create_dir_all(&data).map_err(|error| cannot(&data, &error))?;
    let tar = to.join(format!("{name}.tar"));
    pack(&tree, &tar, USER)?;
    let unpacked = digest(&tar)?;
    let blobs = Blobs(fresh(&to.join(&name))?);
    let layer = blobs.file("application/vnd.oci.image.layer.v1.tar+gzip", &zipped(&tar)?)?;
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "User": USER,
            "Entrypoint": ["/usr/bin/landfall"],
            "Cmd": ["run"],
            "Env": [format!("LANDFALL_DATA={DATA}")],
            "ExposedPorts": {"4520/tcp": {}, "4520/udp": {}},
            "Volumes": {DATA: {}},
            "StopSignal": "SIGTERM",
        },
        "rootfs": {"type": "layers", "diff_ids": [unpacked]},
    });
    let config = blobs.json("application/vnd.oci.image.config.v1+json", &config)?;
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer],
    });
    let mut manifest = blobs.json(kind, &manifest)?;
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": version});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    blobs.write("index.json", index.to_string().as_bytes())?;
    blobs.write("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    Ok(blobs.0)
}

/// The folder of an image. What is in it is called by its digest.
struct Blobs(PathBuf);

impl Blobs {
    fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, Failure> {
        let path = self.0.join(name);
        write(&path, bytes)?;
        Ok(path)
    }

    /// Puts a file in, and describes it.
    fn file(&self, kind: &str, from: &Path) -> Result<Value, Failure> {
        let digest = digest(from)?;
        let bytes = fs::read(from).map_err(|error| cannot(from, &error))?;
        self.write(&format!("blobs/{}", digest.replace(':', "/")), &bytes)?;
        Ok(json!({"mediaType": kind, "digest": digest, "size": bytes.len()}))
    }

    fn json(&self, kind: &str, value: &Value) -> Result<Value, Failure> {
        let path = self.write("part.json", value.to_string().as_bytes())?;
        let described = self.file(kind, &path)?;
        fs::remove_file(&path).map_err(|error| cannot(&path, &error))?;
        Ok(described)
    }
}

/// `sha256:` and the hash of a file.
fn digest(file: &Path) -> Result<String, Failure> {
    let told = shell::output(Command::new("sha256sum").arg("--").arg(file))?;
    Ok(format!("sha256:{}", told.split_whitespace().next().unwrap_or_default()))
}

/// Packs a folder so that the same files make the same bytes.
fn pack(tree: &Path, tar: &Path, owner: &str) -> Result<(), Failure> {
    let (user, group) = owner.split_once(':').unwrap_or((owner, owner));
    let mut pack = Command::new("tar");
    pack.args(["--create", "--sort=name", "--format=ustar", "--numeric-owner"]);
    pack.arg(format!("--mtime=@{}", deb::changed().0)).arg(format!("--owner={user}"));
    pack.arg(format!("--group={group}")).arg("--file").arg(tar).arg("--directory").arg(tree);
    shell::run(pack.arg("."))
}

fn zipped(tar: &Path) -> Result<PathBuf, Failure> {
    shell::run(Command::new("gzip").args(["-9nf"]).arg(tar))?;
    Ok(tar.with_extension("tar.gz"))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let written =
        fs::create_dir_all(path.parent().unwrap_or(path)).and_then(|()| fs::write(path, bytes));
    written.map_err(|error| cannot(path, &error))
}

/// Copies a program to where it is to be.
fn put(path: &Path, from: &Path) -> Result<(), Failure> {
    let put = fs::create_dir_all(path.parent().unwrap_or(path))
        .and_then(|()| fs::copy(from, path))
        .and_then(|_| fs::set_permissions(path, fs::Permissions::from_mode(0o755)));
    put.map_err(|error| cannot(path, &error))
}

/// An empty folder in place of whatever was there.
fn fresh(folder: &Path) -> Result<PathBuf, Failure> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(|error| cannot(folder, &error))?;
    }
    fs::create_dir_all(folder).map_err(|error| cannot(folder, &error))?;
    Ok(folder.to_owned())
}

fn cannot(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Machine(format!("cannot use {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A part of an image, by what describes it: of the length and with the digest that it says.
    fn part(image: &Path, described: &Value) -> Vec<u8> {
        let name = described["digest"].as_str().unwrap();
        let path = image.join("blobs").join(name.replace(':', "/"));
        assert_eq!(digest(&path).unwrap(), name);
        let bytes = fs::read(path).unwrap();
        assert_eq!(described["size"], bytes.len());
        bytes
    }

    #[test]
    fn an_image_is_whole_and_the_same_each_time() {
        let dir = fresh(&shell::target().join("tmp/image")).unwrap();
        let program = Path::new("/bin/sh");
        let image = image(program, "Terms", "1.2.3", &dir).unwrap();
        let index = fs::read(image.join("index.json")).unwrap();
        let parsed: Value = serde_json::from_slice(&index).unwrap();
        let manifest = part(&image, &parsed["manifests"][0]);
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let config: Value = serde_json::from_slice(&part(&image, &manifest["config"])).unwrap();
        part(&image, &manifest["layers"][0]);
        let layer = manifest["layers"][0]["digest"].as_str().unwrap().replace(':', "/");
        let unpack = format!("gzip -dc < {}/blobs/{layer} | sha256sum", image.display());
        let unpacked = shell::output(Command::new("sh").args(["-c", &unpack])).unwrap();
        let told = config["rootfs"]["diff_ids"][0].as_str().unwrap();
        assert_eq!(told.strip_prefix("sha256:"), unpacked.split(' ').next());
        let again = super::image(program, "Terms", "1.2.3", &dir).unwrap();
        assert_eq!(fs::read(again.join("index.json")).unwrap(), index);
        assert_eq!(fs::read_dir(image).unwrap().count(), 3, "index, layout and blobs");
    }
}
