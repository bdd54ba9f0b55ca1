// SPDX-License-Identifier: MIT OR Apache-2.0

//! `#[derive(Store)]`: see `storage::Store`.

#![forbid(unsafe_code)]

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Data, DataEnum, DeriveInput, Error, Field, Fields, GenericParam, Generics, Lifetime, Variant,
    parse_macro_input, parse_quote,
};

/// Implements `Store` for a type all of whose fields may be stored, and, if it has no type
/// parameters, `Root`.
///
/// The type has at most one lifetime: that of the stay in the VAS, which its pointers have.
#[proc_macro_derive(Store)]
pub fn derive_store(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    store(&input)
        .unwrap_or_else(Error::into_compile_error)
        .into()
}

fn store(input: &DeriveInput) -> syn::Result<TokenStream> {
    let name = &input.ident;
    let stay = stay(&input.generics)?;
    let mut generics = input.generics.clone();
    for parameter in generics.type_params_mut() {
        parameter.bounds.push(parse_quote!(::storage::Store<#stay>));
    }
    let (_, type_generics, where_clause) = generics.split_for_impl();
    let mut parameters = generics.clone();
    if parameters.lifetimes().next().is_none() {
        let stay: GenericParam = parse_quote!(#stay);
        parameters.params.insert(0, stay);
    }
    let (impl_generics, ..) = parameters.split_for_impl();
    let description = description(input, &stay)?;
    let text = name.to_string();
    let root = root(input);
    Ok(quote! {
        // SAFETY: each field is asked for `Store`.
        #[automatically_derived]
        unsafe impl #impl_generics ::storage::Store<#stay> for #name #type_generics #where_clause {
            fn describe(shape: &mut ::storage::Shape) {
                shape.composite::<Self>(#text, |shape| {
                    #description
                });
            }
        }
        #root
    })
}

/// The lifetime of the stay in the VAS.
fn stay(generics: &Generics) -> syn::Result<Lifetime> {
    let mut lifetimes = generics.lifetimes();
    let stay = lifetimes.next().map(|parameter| parameter.lifetime.clone());
    match lifetimes.next() {
        None => Ok(stay.unwrap_or_else(|| Lifetime::new("'__stay", Span::call_site()))),
        Some(second) => Err(Error::new(
            second.span(),
            "a stored type has one lifetime at most: that of the stay in the VAS",
        )),
    }
}

fn description(input: &DeriveInput, stay: &Lifetime) -> syn::Result<TokenStream> {
    // `repr` decides where fields lie, which sizes need not show.
    let representation: TokenStream = input
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("repr"))
        .map(|attribute| {
            let text = attribute.meta.to_token_stream().to_string();
            quote!(shape.part(#text);)
        })
        .collect();
    let parts = match &input.data {
        Data::Struct(data) => fields(&data.fields, stay),
        Data::Enum(data) => variants(data, stay)?,
        Data::Union(_) => {
            return Err(Error::new(
                input.ident.span(),
                "a union may not be stored: nothing says which of its fields it holds",
            ));
        }
    };
    Ok(quote!(#representation #parts))
}

fn variants(data: &DataEnum, stay: &Lifetime) -> syn::Result<TokenStream> {
    let plain = data
        .variants
        .iter()
        .all(|variant| matches!(variant.fields, Fields::Unit));
    let describe = |variant: &Variant| {
        let name = &variant.ident;
        let text = name.to_string();
        let fields = fields(&variant.fields, stay);
        let number = match &variant.discriminant {
            _ if plain => quote!(shape.number(Self::#name as i128);),
            None => TokenStream::new(),
            Some((_, number)) => {
                return Err(Error::new(
                    number.span(),
                    "a stored enum of variants with fields numbers them itself",
                ));
            }
        };
        Ok(quote!(shape.part(#text); #number #fields))
    };
    data.variants.iter().map(describe).collect()
}

fn fields(fields: &Fields, stay: &Lifetime) -> TokenStream {
    let describe = |(position, field): (usize, &Field)| {
        let name = field
            .ident
            .clone()
            .unwrap_or_else(|| format_ident!("_{position}"))
            .to_string();
        let stored = &field.ty;
        // The error of a type that may not be stored points to the field.
        quote_spanned! {stored.span()=>
            shape.part(#name);
            <#stored as ::storage::Store<#stay>>::describe(shape);
        }
    };
    fields.iter().enumerate().map(describe).collect()
}

/// `Root`, for types that are named without type parameters.
fn root(input: &DeriveInput) -> Option<TokenStream> {
    let name = &input.ident;
    let mut parameters = input.generics.params.iter();
    let first = parameters.next();
    if parameters.next().is_some() {
        return None;
    }
    match first {
        None => Some(quote! {
            #[automatically_derived]
            #[diagnostic::do_not_recommend]
            impl ::storage::Root for #name {
                type At<'__stay> = #name;
            }
        }),
        Some(GenericParam::Lifetime(_)) => Some(quote! {
            #[automatically_derived]
            #[diagnostic::do_not_recommend]
            impl ::storage::Root for #name<'_> {
                type At<'__stay> = #name<'__stay>;
            }
        }),
        Some(_) => None,
    }
}
