/**
 * What the `event` of a frame begins with that reports a failure; its name (`throttlingException`) follows, and `data` is the JSON that
 * explains it.
 */
export const EXCEPTION = 'exception:'
