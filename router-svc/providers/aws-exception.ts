/**
 * What the `event` of a frame begins with that reports a failure; its name (`throttlingException`) follows, and `data` is the JSON that
 * explains it.
 */
export const EXCEPTION = 'exception:'
/** The event whose payload is bytes of somebody else's stream, cut anywhere: its `data` holds one character a byte (Latin-1). */
export const BYTES_PART = 'PayloadPart'
