const KIB = 1024;
const MIB = 1024 * KIB;
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** Every bound that clients can meet, in one place. Bytes, milliseconds or counts, as the names say. */
export const LIMITS = {
  /** One snapshot, as the stream that it is kept as. */
  snapshotBytes: 16 * 1024 * MIB,
  /** All snapshots of a project together, equal bytes counted each time; each counts as the least at least. */
  snapshotsBytes: 64 * 1024 * MIB,
  snapshotLeastBytes: 16 * MIB,
  /** One browser profile, as the stream that it is kept as, and how many a project may have. */
  browserProfileBytes: 64 * MIB,
  browserProfiles: 100,
  /** Parts of one upload, and how long it may be under way before it counts as abandoned. */
  uploadParts: 10_000,
  uploadLifeMs: 7 * 24 * HOUR_MS,
  /** How far ahead an artifact may be retained. */
  retainMaxMs: 10 * 365 * 24 * HOUR_MS,
  /** The small picture of an artifact, and for how long its sandbox may draw it. */
  artifactPictureSide: 512,
  artifactPictureBytes: 64 * KIB,
  artifactPictureMs: 5_000,
  /** Sandboxes that one fork may make. */
  forksAtOnce: 16,
  /** Actions of each kind that one sandbox's log keeps; what comes after is counted. */
  actionsPerKind: 2000,
  actionScreenshots: 500,
  /** The same of what pages did by themselves. */
  actionScreenshotsByPages: 100,
  actionScreenshotBytes: 256 * KIB,
  /** Characters of one text in an action. */
  actionTextChars: 1000,
  /** JSON bodies of the control routes. */
  jsonBodyBytes: MIB,
  /** JSON bodies that carry code, a command or a file's content. */
  contentBodyBytes: 100 * MIB,
  /** One multipart upload in AgentRun's shape. */
  uploadBytes: 10 * 1024 * MIB,
  /** Output of one execution or command that a synchronous answer keeps, per stream; the rest is counted and dropped. */
  outputBytes: 4 * MIB,
  /** Output of one background process kept for those who attach later, oldest dropped first. */
  backlogBytes: 4 * MIB,
  /** Output that one streamed execution may send before it is cut with a marker. */
  streamBytes: 256 * MIB,
  /** One rich result, such as a figure. */
  resultBytes: 16 * MIB,
  /** All rich results of one execution that a synchronous answer keeps. */
  resultsBytes: 64 * MIB,
  /** Backlogs of all background processes together. */
  backlogTotalBytes: 64 * MIB,
  /** A shell command or one variable, as the kernel of the system takes them. */
  commandBytes: 120 * KIB,
  /** Executions of one context that wait for their turn. */
  executionsQueued: 64,
  /** Entries of one directory listing. */
  entriesListed: 10_000,
  /** Instances that one template may have prepared. */
  preparedMax: 512,
  timeoutDefaultMs: 30_000,
  timeoutMaxMs: 6 * HOUR_MS,
  /** How long code may go on between being interrupted and being killed. */
  interruptGraceMs: 2_000,
  /** What one gateway passes on to one sandbox: twice as many may come in a burst, and so many be under way, streams included. */
  requestsPerSecond: 1000,
  requestsAtOnce: 100,
  /** What one sandbox streams through one gateway, all its answers but files together; half as much in a burst. */
  streamBytesPerSecond: 8 * MIB,
  /** Requests of one project on all control routes of one gateway; twice as many in a burst. */
  controlPerSecond: 1000,
  /** One message that a client sends by a WebSocket into a sandbox. */
  socketMessageBytes: MIB,
  /** Rows or columns of a terminal. */
  terminalSide: 1000,
  /** Terminals of one sandbox that run. */
  terminalsPerSandbox: 32,
  /** Tickets: those good once, those for a port, and the longest; a page's session, moved by each renewal, and its tickets. */
  ticketMs: 5 * MINUTE_MS,
  ticketPortMs: HOUR_MS,
  ticketMaxMs: 24 * HOUR_MS,
  pageSessionMs: HOUR_MS,
  pageTicketMs: MINUTE_MS,
  ticketsPerSandbox: 100,
  /** One MCP message; what is larger goes by the file routes. */
  mcpMessageBytes: 16 * MIB,
  /** Characters that one answer of a tool holds of each stream, from its beginning and its end; bytes that one read of a text brings. */
  mcpTextChars: 48 * KIB,
  /** Bytes of a file, or of all images together, in one answer of a tool. */
  mcpBinaryBytes: 4 * MIB,
  /** MCP sessions of one project; one that nobody used for so long is forgotten. */
  mcpSessions: 1000,
  mcpSessionIdleMs: 24 * HOUR_MS,
  /** What an MCP client says of itself in `initialize`, as it is kept. */
  mcpClientBytes: 16 * KIB,
  mcpToolsListed: 128,
  idleMinMs: MINUTE_MS,
  idleMaxMs: 6 * HOUR_MS,
  idleDefaultMs: 10 * MINUTE_MS,
  lifeDefaultMs: 6 * HOUR_MS,
  contextsPerSandbox: 32,
  processesListed: 1024,
  /** The sandbox's display, and text that a view may put on its clipboard or take from it. */
  displayWidthMin: 320,
  displayWidthMax: 3840,
  displayHeightMin: 200,
  displayHeightMax: 2160,
  clipboardBytes: 256 * KIB,
  /** One video of the display, after which the next begins; all of one sandbox together, and how many. */
  recordingMs: 30 * MINUTE_MS,
  recordingBytes: 256 * MIB,
  recordingsBytes: 1024 * MIB,
  recordingsPerSandbox: 200,
  /** One action on the desktop, and what it answers: a picture of the largest screen at most. */
  desktopTextChars: 10_000,
  desktopWaitMaxMs: 10_000,
  desktopScrollMax: 100,
  desktopPathPoints: 500,
  desktopAnswerBytes: 64 * MIB,
  /** What is done on a page by the door's own hand: how long it may take, what names a page and an element, and the largest answer. */
  browsingTimeoutDefaultMs: 30_000,
  browsingTimeoutMaxMs: 5 * MINUTE_MS,
  pageUrlChars: 64 * KIB,
  selectorChars: 4 * KIB,
  pageAnswerBytes: 48 * MIB,
  pageHtmlChars: 16 * MIB,
  markdownChars: 4 * MIB,
  /** Sides of a window in its own pixels, and of a picture: more than that no browser draws. */
  viewportMin: 100,
  viewportMax: 4096,
  pictureSide: 16_384,
  /** How long a person who has control may be away before it ends, how long one may hold it without a view, and how long input may rest where control came with it. */
  controlGraceMs: 30_000,
  controlHoldMaxMs: HOUR_MS,
  controlQuietMs: 10_000,
  /** One image of somebody's own: what it unpacks to, its files and layers, one of its documents, how long that may take. */
  imageBytes: 16 * 1024 * MIB,
  imageEntries: 500_000,
  imageLayers: 128,
  imageDocumentBytes: 4 * MIB,
  imageUnpackMs: 10 * MINUTE_MS,
  /** What an image's program is started with, its variables included. */
  imageProgramBytes: 256 * KIB,
  /** How long an image's program may take until its port is open; its newest output that is told of, and that stands in a Problem. */
  programReadyMs: 30_000,
  programOutputBytes: 256 * KIB,
  programWordsBytes: 2 * KIB,
  archiveEntries: 200_000,
  archiveDepth: 100,
  pathBytes: 4096,
  metadataEntries: 32,
  metadataValueBytes: 512,
  environmentEntries: 100,
  webhooks: 20,
  /** How often one project may follow its spans at once through one gateway. */
  spanStreams: 16,
  /** What programs inside one sandbox may say of themselves: one body, how fast, how much waits to be fetched, and how much is kept. */
  saidBodyBytes: MIB,
  saidSpansPerSecond: 500,
  saidSpansWaiting: 2000,
  saidBytesWaiting: 2 * MIB,
  saidSpansPerSandbox: 5000,
  /** Words to look for. */
  queryChars: 10_000,
  pageDefault: 50,
  pageMax: 200,
  linkDefaultMs: 15 * MINUTE_MS,
  linkMaxMs: 24 * HOUR_MS,
  clockSkewMs: 15 * MINUTE_MS,
  /** What one row's key and its value as JSON may have: the smallest of what the table stores take. */
  tableKeyBytes: 1024,
  tableValueBytes: 2 * MIB,
  /** What one object's key may have, and one segment of it between slashes. */
  objectKeyBytes: 1023,
  objectSegmentBytes: 250,
  /** One message: 64 KiB once it is base64, which is what a cloud queue carries. */
  messageBytes: 48 * KIB,
  messageDelayMs: 7 * 24 * HOUR_MS,
  messageVisibilityMs: 12 * HOUR_MS,
  /** What one event or record of memory says, and what an event may carry beside it unread. */
  memoryTextBytes: 64 * KIB,
  memoryBlobBytes: 512 * KIB,
  memoryQueryChars: 10_000,
  /** Different words of a query that are looked for; the first so many. */
  memoryQueryWords: 256,
  memoryEventsAtOnce: 100,
  memorySearchMax: 200,
  /** How many vectors one search compares at most: the newest that its filter lets through. */
  memoryVectorsCompared: 20_000,
  memoryVectorLength: 4096,
  memoryCollections: 1000,
  /** What one collection may hold: events and records together. */
  memoryDocuments: 5_000_000,
  memoryLineBytes: MIB,
  memoryLifeMaxMs: 10 * 365 * 24 * HOUR_MS,
} as const;
