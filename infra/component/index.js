// Serverless Devs loads a component by require() and makes its class; the class itself is checked code like any other.
export { Component as "module.exports" } from "./component.ts";
