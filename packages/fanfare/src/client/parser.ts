// Owns: bytes of an event stream to its blocks, exactly as WHATWG HTML "Server-sent events" says.
// Knows nothing of connections, JSON or listeners.

/** What a parser finds, in order. */
export interface ParserHandlers {
  /** A blank line ended a block. `data` is `undefined` where the block had none: then it only moves the last event ID. */
  onBlock(lastEventId: string, event: string, data: string | undefined): void;
  /** A `retry` line, as soon as it is read: milliseconds, however many; `event` is the block's type so far. */
  onRetry(ms: number, event: string): void;
  /** A comment, without its colon. */
  onComment?: ((text: string) => void) | undefined;
}

/**
 * A function to be fed with the bytes of one stream, chunk by chunk. Linear in their number, however they are cut. It
 * answers false once more than `maxLength` UTF-16 units wait for the end of their event: then it is to be fed no more. After
 * the signal it reads nothing more, not even the rest of a chunk.
 */
export function createParser(
  handlers: ParserHandlers,
  lastEventId: string,
  maxLength: number,
  signal?: AbortSignal,
): (chunk: Uint8Array) => boolean {
  // Replaces what is no UTF-8, and takes away one byte order mark, also a cut one. A second one is text.
  const decoder = new TextDecoder();
  const lineEnd = /[\r\n]/g;
  // Strings that are only added to are ropes: flattened once, when the line or the event is complete.
  let rest = "";
  let data: string | undefined;
  let event = "";
  let id = lastEventId;
  let afterCr = false;

  const takeLine = (line: string) => {
    if (!line) {
      const block = [id, event || "message", data] as const;
      event = "";
      data = undefined;
      return handlers.onBlock(...block);
    }
    const colon = line.indexOf(":");
    const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
    switch (colon < 0 ? line : line.slice(0, colon)) {
      case "":
        handlers.onComment?.(line.slice(1));
        break;
      case "data":
        data = data === undefined ? value : `${data}\n${value}`;
        break;
      case "event":
        event = value;
        break;
      case "id":
        if (!value.includes("\0")) id = value;
        break;
      case "retry":
        if (/^\d+$/.test(value)) handlers.onRetry(+value, event);
    }
  };

  return (chunk) => {
    const text = decoder.decode(chunk, { stream: true });
    // A CR ended its line when it came: waiting for an LF behind it would hold the event back.
    let start = afterCr && text[0] === "\n" ? 1 : 0;
    if (text) afterCr = false;
    for (;;) {
      if (signal?.aborted) return true;
      lineEnd.lastIndex = start;
      const end = lineEnd.exec(text)?.index;
      rest += text.slice(start, end);
      if (rest.length + (data?.length ?? 0) > maxLength) return false;
      if (end === undefined) return true;
      start = end + 1;
      if (text[end] === "\r") {
        if (start === text.length) afterCr = true;
        else if (text[start] === "\n") start++;
      }
      const line = rest;
      rest = "";
      takeLine(line);
    }
  };
}
