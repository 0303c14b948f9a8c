//! From a path or bytes to a [`Model`].

use std::{fs::File, path::Path};

use onnx_protobuf::{Message, ModelProto};

use crate::{
    Bytes, ErrorKind, ImportError, Model,
    check::check,
    constant::Constants,
    convert::{Converter, Opsets, opsets},
    error::Result,
    external::ExternalFiles,
    inline::inline_functions,
    schema::Kind,
    strip::Stripped,
};

impl Model {
    /// Loads a model file, ready to translate: functions expanded, nodes in order, names checked.
    pub fn load(path: impl AsRef<Path>) -> Result<Model> {
        let path = path.as_ref();
        let bytes = map(path)?;
        Model::finish(bytes, &path.display().to_string(), ExternalFiles::of_model(path))
    }

    /// Loads a model from the bytes of a file. Messages call it `file`; external data is looked
    /// for in `folder`.
    pub fn parse(bytes: Bytes, file: &str, folder: Option<&Path>) -> Result<Model> {
        Model::finish(bytes, file, ExternalFiles::new(folder))
    }

    fn finish(bytes: Bytes, file: &str, external: ExternalFiles) -> Result<Model> {
        let mut model = decode(bytes, file, external).map_err(|error| error.in_file(file))?;
        inline_functions(&mut model)?;
        check(&mut model)?;
        Ok(model)
    }

    /// Only decodes: calls of functions stay, nodes stand as in the file, nothing is checked but
    /// the format and the tensors.
    pub fn decode(bytes: Bytes, file: &str, folder: Option<&Path>) -> Result<Model> {
        decode(bytes, file, ExternalFiles::new(folder)).map_err(|error| error.in_file(file))
    }
}

fn decode(source: Bytes, file: &str, external: ExternalFiles) -> Result<Model> {
    let stripped = Stripped::new(&source, 0..source.len(), Kind::Model)?;
    let proto: ModelProto = decode_message(&stripped.message)?;
    let imports = imports(&proto)?;
    let constants = Constants::new(source.clone(), stripped.tensors, external);
    let mut converter = Converter { constants };
    let Some(graph) = proto.graph.as_ref() else {
        return Err(not_onnx("has no graph"));
    };
    let functions = proto.functions.iter();
    let mut model = Model {
        file: file.to_owned(),
        ir_version: proto.ir_version,
        producer: format!("{} {}", proto.producer_name, proto.producer_version).trim().to_owned(),
        graph: converter.graph(graph, &imports)?,
        functions: functions.map(|f| converter.function(f, &imports)).collect::<Result<_>>()?,
        opset_imports: imports,
        external: vec![],
        source,
    };
    model.external = converter.constants.external.used();
    Ok(model)
}

fn imports(proto: &ModelProto) -> Result<Opsets> {
    if proto.ir_version <= 0 {
        return Err(not_onnx("has no ir_version"));
    }
    let mut imports = opsets(&proto.opset_import)?;
    if imports.is_empty() {
        if proto.ir_version >= 3 {
            return Err(ImportError::malformed("has no opset_import"));
        }
        // Files older than IR version 3 mean the first operator set.
        imports.insert(String::new(), 1);
    }
    Ok(imports)
}

/// Decodes a stripped message.
pub(crate) fn decode_message<M: Message>(message: &[u8]) -> Result<M> {
    M::parse_from_bytes(message).map_err(|error| not_onnx(format!("does not decode as an ONNX message: {error}")))
}

/// Maps a whole file.
pub(crate) fn map(path: &Path) -> Result<Bytes> {
    let name = path.display().to_string();
    let unreadable = |error: std::io::Error| {
        ImportError::new(ErrorKind::Io, format!("cannot be read: {error}"), "check the path").in_file(&name)
    };
    // Opening a pipe would wait for its writer, so look before opening.
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err(unreadable(std::io::Error::other("it is not a regular file")));
    }
    let file = File::open(path).map_err(unreadable)?;
    Bytes::map(&file).map_err(unreadable)
}

/// The folder a file lies in.
pub(crate) fn folder_of(path: &Path) -> Option<&Path> {
    let parent = path.parent()?;
    Some(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
}

fn not_onnx(what: impl Into<String>) -> ImportError {
    ImportError::new(ErrorKind::Malformed, what, "check that it is an ONNX file")
}
