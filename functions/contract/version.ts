/** The version that every part of one installation shares. */
export const VERSION = "0.1.0";
