//! Weights beside the model.

use std::{fs, path::Path};

use onnx_protobuf::{StringStringEntryProto, tensor_proto::DataLocation};

use super::{bytes_of, graph, model, raw_tensor};
use crate::{ErrorKind, Model};

fn load(folder: &Path, entries: &[(&str, &str)]) -> Result<Model, String> {
    let mut tensor = raw_tensor("w", 2, &[4], &[]);
    tensor.data_location = DataLocation::EXTERNAL.into();
    tensor.external_data = entries
        .iter()
        .map(|(key, value)| StringStringEntryProto {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
            ..StringStringEntryProto::default()
        })
        .collect();
    let mut graph = graph(&[], &[], vec![]);
    graph.initializer.push(tensor);
    let path = folder.join("m.onnx");
    fs::write(&path, bytes_of(&model(graph))).unwrap();
    Model::load(&path).map_err(|error| {
        assert_eq!(error.place(), Some("tensor `w`"));
        error.to_string()
    })
}

#[test]
fn data_inside_the_folder_is_mapped() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    fs::write(folder.path().join("sub/w.bin"), [0, 1, 2, 3, 4, 5]).unwrap();
    fs::write(folder.path().join("four"), [9, 8, 7, 6]).unwrap();
    let at = |entries: &[(&str, &str)]| {
        let model = load(folder.path(), entries).unwrap();
        let tensor = model.graph.initializers[0].tensor.clone();
        assert!(matches!(&tensor.data, crate::TensorData::Bytes(bytes) if bytes.is_mapped()));
        tensor.bytes().to_vec()
    };
    let location = ("location", "sub/w.bin");
    assert_eq!(at(&[location, ("offset", "2"), ("length", "4"), ("checksum", "?")]), [2, 3, 4, 5]);
    assert_eq!(at(&[location]), [0, 1, 2, 3]);
    assert_eq!(at(&[("location", "./four")]), [9, 8, 7, 6]);
}

#[test]
fn data_that_is_cut_off_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("w"), [0; 6]).unwrap();
    let refused = |entries: &[(&str, &str)]| load(folder.path(), entries).unwrap_err();
    let location = ("location", "w");
    assert!(refused(&[location, ("offset", "3")]).contains("reaches past the end"));
    assert!(refused(&[location, ("offset", "18446744073709551615")]).contains("past the end"));
    assert!(refused(&[location, ("offset", "-1")]).contains("not a number"));
    assert!(refused(&[location, ("length", "5")]).contains("has 5 bytes, its shape asks for 4"));
    assert!(refused(&[]).contains("no location"));
    assert!(refused(&[("location", "gone")]).contains("cannot be read"));
    assert!(refused(&[("location", ".")]).contains("not a regular file"));
}

#[test]
fn data_outside_the_folder_is_refused() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("model");
    fs::create_dir(&folder).unwrap();
    let secret = outer.path().join("secret");
    fs::write(&secret, [0; 4]).unwrap();
    let absolute = secret.display().to_string();
    for location in ["../secret", "a/../../secret", "..\\secret", &absolute] {
        let line = load(&folder, &[("location", location)]).unwrap_err();
        assert!(line.contains("outside the model's folder"), "{line}");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&secret, folder.join("link")).unwrap();
        let line = load(&folder, &[("location", "link")]).unwrap_err();
        assert!(line.contains("outside the model's folder"), "{line}");
        std::os::unix::fs::symlink(outer.path(), folder.join("up")).unwrap();
        let line = load(&folder, &[("location", "up/secret")]).unwrap_err();
        assert!(line.contains("outside the model's folder"), "{line}");
    }
}

/// The layout of the cache of `huggingface_hub`: names are links to files that are called by their hashes.
#[cfg(unix)]
#[test]
fn links_into_the_folder_of_the_model_itself_are_followed() {
    use std::os::unix::fs::symlink;
    let cache = tempfile::tempdir().unwrap();
    let (blobs, snapshot) = (cache.path().join("blobs"), cache.path().join("snapshots/1"));
    fs::create_dir_all(&blobs).unwrap();
    fs::create_dir_all(snapshot.join("onnx")).unwrap();
    fs::write(blobs.join("b2"), [4, 3, 2, 1]).unwrap();
    fs::write(cache.path().join("secret"), [0; 4]).unwrap();
    let place = |location: &str, target: &str| {
        let entries = [("location", location)];
        load(&blobs, &entries).ok();
        fs::rename(blobs.join("m.onnx"), blobs.join("a1")).unwrap();
        for (name, target) in [("model.onnx", "../../../blobs/a1"), ("model.data", target)] {
            let _ = fs::remove_file(snapshot.join("onnx").join(name));
            symlink(target, snapshot.join("onnx").join(name)).unwrap();
        }
        Model::load(snapshot.join("onnx/model.onnx")).map_err(|error| error.to_string())
    };
    let model = place("model.data", "../../../blobs/b2").unwrap();
    assert_eq!(model.graph.initializers[0].tensor.bytes(), [4, 3, 2, 1]);
    assert_eq!(model.external, [blobs.canonicalize().unwrap().join("b2")]);
    for (location, target) in [("model.data", "../../../secret"), ("b2", "../../../blobs/b2")] {
        assert!(place(location, target).is_err(), "{location} {target}");
    }
    fs::create_dir(blobs.join("below")).unwrap();
    fs::write(blobs.join("below/b2"), [0; 4]).unwrap();
    let line = place("model.data", "../../../blobs/below/b2").unwrap_err();
    assert!(line.contains("outside the model's folder"), "{line}");
}

#[test]
fn missing_files_are_io_errors() {
    let error = Model::load("no-such-folder/m.onnx").unwrap_err();
    assert_eq!((error.kind(), error.file()), (ErrorKind::Io, "no-such-folder/m.onnx"));
    assert!(Model::load(".").unwrap_err().to_string().contains("not a regular file"));
}
