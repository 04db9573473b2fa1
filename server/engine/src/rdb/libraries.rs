//! Libraries of functions: texts among the databases of a file, and the payloads of FUNCTION DUMP and RESTORE.

use super::error::RestoreError;
use super::format::{LIBRARIES_VERSION, opcode};
use super::load::checked_body;
use super::reader::Reader;
use super::save::with_footer;
use super::writer::Writer;

/// Why FUNCTION RESTORE refused a payload. The texts are Redis's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LibrariesError {
    /// The footer is missing, is of an unknown version, or its checksum is not that of the payload.
    #[error("DUMP payload version or checksum are wrong")]
    Footer,
    #[error("Pre-GA function format not supported")]
    PreGa,
    #[error("given type is not a function")]
    NotALibrary,
    #[error("Failed loading library payload")]
    Damaged,
}

/// Writes the libraries with these texts.
pub(super) fn put<T: AsRef<[u8]>>(writer: &mut Writer<'_>, codes: &[T]) {
    for code in codes {
        writer.byte(opcode::FUNCTION2);
        writer.string(code.as_ref());
    }
}

/// FUNCTION DUMP's payload: libraries, version, checksum. The version is the oldest that has libraries, so that Redis 7.0
/// takes it, too.
pub fn dump_libraries<T: AsRef<[u8]>>(codes: &[T]) -> Vec<u8> {
    let mut writer = Writer::in_memory(true);
    put(&mut writer, codes);
    with_footer(writer.into_vec(), LIBRARIES_VERSION)
}

/// Calls `each` with the text of every library in a payload of FUNCTION DUMP, until that fails.
pub fn read_libraries<E: From<LibrariesError>>(
    payload: &[u8],
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let body = checked_body(payload).map_err(|_: RestoreError| LibrariesError::Footer)?;
    let mut reader = Reader::new(body);
    while reader.left() > 0 {
        match reader.byte().map_err(|_| LibrariesError::Damaged)? {
            opcode::FUNCTION2 => {}
            opcode::FUNCTION_PRE_GA => return Err(LibrariesError::PreGa.into()),
            _ => return Err(LibrariesError::NotALibrary.into()),
        }
        let code = reader.string().map_err(|_| LibrariesError::Damaged)?;
        code.with_bytes(&mut each)?;
    }
    Ok(())
}
