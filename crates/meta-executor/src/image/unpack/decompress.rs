//! The text of a compressed layer, decompressed by a thread ahead of the one that writes the files: both take about as long.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;

const CHUNK: usize = 256 * 1024;

/// How many chunks may wait: 2 MB.
const CHUNKS: usize = 8;

/// Starts to decompress `layer`. Looks at its first bytes, not at the media type: registries hold layers of every kind under
/// every name.
pub(super) fn decompressed(layer: File) -> ReadAhead {
    let (sender, receiver) = sync_channel(CHUNKS);
    // The thread ends with the layer, or when nobody reads any more.
    thread::spawn(move || {
        if let Err(error) = send_chunks(layer, &sender) {
            let _ = sender.send(Err(error));
        }
    });
    ReadAhead { receiver, chunk: Vec::new(), read: 0 }
}

fn send_chunks(layer: File, sender: &SyncSender<io::Result<Vec<u8>>>) -> io::Result<()> {
    let mut layer = BufReader::with_capacity(CHUNK, layer);
    let start = layer.fill_buf()?;
    let mut text: Box<dyn Read> = if start.starts_with(&[0x1f, 0x8b]) {
        Box::new(MultiGzDecoder::new(layer))
    } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Box::new(ZstdFrames { layer: Some(layer), frame: None })
    } else {
        Box::new(layer)
    };
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        text.by_ref().take(CHUNK as u64).read_to_end(&mut chunk)?;
        if chunk.is_empty() || sender.send(Ok(chunk)).is_err() {
            return Ok(());
        }
    }
}

/// zstd layers that can be read in part have many frames; the decoder reads one.
struct ZstdFrames {
    layer: Option<BufReader<File>>,
    frame: Option<StreamingDecoder<BufReader<File>, ruzstd::decoding::FrameDecoder>>,
}

impl Read for ZstdFrames {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(frame) = &mut self.frame {
                let count = frame.read(buffer)?;
                if count > 0 || buffer.is_empty() {
                    return Ok(count);
                }
                self.layer = self.frame.take().map(StreamingDecoder::into_inner);
            }
            let Some(mut layer) = self.layer.take() else { return Ok(0) };
            let start = layer.fill_buf()?;
            if start.is_empty() {
                return Ok(0);
            }
            if skip_frame(&mut layer)? {
                self.layer = Some(layer);
                continue;
            }
            self.frame = Some(StreamingDecoder::new(layer).map_err(io::Error::other)?);
        }
    }
}

/// Passes over a skippable frame (RFC 8878, section 3.1.2), in which the tables of seekable layers are.
fn skip_frame(layer: &mut BufReader<File>) -> io::Result<bool> {
    let start = layer.fill_buf()?;
    let is_skippable =
        start.len() >= 4 && (0x50..=0x5f).contains(&start[0]) && start[1..4] == [0x2a, 0x4d, 0x18];
    if !is_skippable {
        return Ok(false);
    }
    let mut header = [0; 8];
    layer.read_exact(&mut header)?;
    let [.., a, b, c, d] = header;
    io::copy(&mut layer.take(u32::from_le_bytes([a, b, c, d]).into()), &mut io::sink())?;
    Ok(true)
}

/// The reading end.
pub(super) struct ReadAhead {
    receiver: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    read: usize,
}

impl Read for ReadAhead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.chunk.len() {
            match self.receiver.recv() {
                Ok(chunk) => (self.chunk, self.read) = (chunk?, 0),
                // The thread has ended, and with it the layer.
                Err(_) => return Ok(0),
            }
        }
        let rest = &self.chunk[self.read..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        Ok(count)
    }
}
