//! Prints the public items of a crate, one a line, from the JSON that rustdoc writes about it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("give the path of the JSON that rustdoc wrote");
        return ExitCode::from(2);
    };
    // Left out is what every type has, or has from a derive.
    let api = public_api::Builder::from_rustdoc_json(&path)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build();
    match api {
        Ok(api) => {
            let items = api.items().map(ToString::to_string);
            // These derives do not mark what they write.
            items
                .filter(|item| !item.contains("bincode::") && !item.contains("utoipa::"))
                .for_each(|item| println!("{item}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{path}: {error}");
            ExitCode::from(2)
        }
    }
}
